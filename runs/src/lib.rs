//! What a run is: sizes, tokenizations, recipes, plans, records, units, and the store that keeps them on disk. This is
//! the first crate of the data flow: it depends on no other crate of the workspace, and holds no tensors and no corpus
//! bytes.

pub mod arithmetic;
pub mod curve;
pub mod drawn;
pub mod files;
mod git_lfs;
pub mod identity;
#[cfg(test)]
mod kept_tests;
pub mod machine;
pub mod medium;
pub mod notice;
pub mod plan;
pub mod plans;
pub mod precision;
pub mod random;
pub mod recipe;
pub mod record;
pub mod size;
pub mod store;
pub mod sweep;
pub mod temporaries;
#[doc(hidden)]
pub mod testing;
pub mod tokenization;
pub mod units;

pub use arithmetic::ARITHMETIC;
pub use curve::CurveRecord;
pub use drawn::{HexBytes, SampleRecord};
pub use files::FileError;
pub use git_lfs::{GIT_LFS_POINTER, is_git_lfs_pointer};
pub use identity::{Identity, Method};
pub use medium::Medium;
pub use plan::{Budget, Plan, PlannedPart};
pub use precision::Precision;
pub use recipe::{Choices, Recipe, Setting};
pub use record::{RateRecord, Span, StepRecord};
pub use size::{LADDER, Size};
pub use store::{Run, Store, StoreError};
pub use tokenization::Tokenization;
pub use units::{Bits, Bytes};

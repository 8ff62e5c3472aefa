//! What a run is: sizes, tokenizations, recipes, plans, records, units, and the store that keeps them on disk. This is
//! the first crate of the data flow: it depends on no other crate of the workspace, and holds no tensors and no corpus
//! bytes.
//!
//! Everything that a user can name is parsed and printed here, in the same words:
//!
//! ```
//! use lmtrain_runs::recipe::Recipe;
//! use lmtrain_runs::{Size, Tokenization};
//!
//! let size: Size = "3.2M".parse()?;
//! assert_eq!((size.width, size.layers, size.heads), (256, 4, 8));
//! // 4 width² of attention and 8 width² of the MLP in each layer.
//! assert_eq!(size.core_parameters(), 12 * 4 * 256 * 256);
//!
//! let tokenization: Tokenization = "bpe-5000".parse()?;
//! assert_eq!(tokenization.vocabulary(), 5000);
//!
//! // What the recipe `modern` chooses for this size, on sequences of 2048 tokens.
//! let row = Recipe::Modern.row_for(size, 2048);
//! assert!(row.choices.block_convolution);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod arithmetic;
pub mod builtin;
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

//! Where commands compute. A build without the feature `train` can use only the CPU.

#[cfg(feature = "train")]
pub(crate) use lmtrain_train::Device;
#[cfg(not(feature = "train"))]
pub(crate) use processor::Device;

#[cfg(not(feature = "train"))]
mod processor {
    use std::fmt;
    use std::str::FromStr;

    use lmtrain_engine::pretrained::PretrainedModel;
    use lmtrain_engine::{SavedWeights, WeightsError};
    use lmtrain_eval::Predictor;
    use lmtrain_runs::Precision;

    /// The processor.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Device {
        Cpu,
    }

    impl fmt::Display for Device {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.pad("cpu")
        }
    }

    impl FromStr for Device {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            match text {
                "auto" | "cpu" => Ok(Self::Cpu),
                _ => Err(format!(
                    "`{text}` is not available: this build computes only on the processor, `cpu`; GPUs need a build \
                     with `--features cuda` or `--features wgpu`"
                )),
            }
        }
    }

    impl Device {
        pub(crate) fn open(self) -> Result<(Self, Option<String>), String> {
            Ok((self, None))
        }

        pub(crate) fn scoring_precision(self, asked: Precision) -> Result<Precision, String> {
            match asked {
                Precision::F32 => Ok(Precision::F32),
                other => Err(format!(
                    "`--precision {other}`: the processor measures only in f32\nhint: `--precision f32`"
                )),
            }
        }

        pub(crate) fn predictor(
            self,
            saved: &SavedWeights,
            _precision: Precision,
        ) -> Result<Box<dyn Predictor>, WeightsError> {
            saved.predictor()
        }

        pub(crate) fn pretrained(
            self,
            _model: &PretrainedModel,
            _precision: Precision,
        ) -> Result<Option<Box<dyn Predictor>>, String> {
            Ok(None)
        }
    }
}

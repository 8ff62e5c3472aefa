//! Networks to and from named tensors.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use lmtrain_runs::Plan;

use crate::network::Network;
use crate::paths::Paths;
use lmtrain_engine::tensor_file::{FormatError, Numbers, TensorFile};

/// The tensors of a network, by the paths of its fields.
#[must_use]
pub fn tensors_of<B: Backend>(network: &Network<B>) -> BTreeMap<String, Numbers> {
    let mut collect = Collect { paths: Paths::default(), tensors: BTreeMap::new() };
    network.visit(&mut collect);
    collect.tensors
}

/// The network of a plan with the weights of a file, whose tensors are taken out.
///
/// # Errors
/// If one is missing or misshapen.
pub fn network_from<B: Backend>(
    plan: &Plan,
    file: &mut TensorFile,
    device: &B::Device,
) -> Result<Network<B>, FormatError> {
    let mut replace = Replace { paths: Paths::default(), file, error: None };
    let network = Network::new(plan, device).map(&mut replace);
    match replace.error {
        None => Ok(network),
        Some(error) => Err(error),
    }
}

struct Collect {
    paths: Paths,
    tensors: BTreeMap<String, Numbers>,
}

impl<B: Backend> ModuleVisitor<B> for Collect {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.paths.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.paths.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        let values = tensor.into_data().iter::<f32>().collect();
        self.tensors.insert(self.paths.current(), Numbers { shape, values });
    }
}

struct Replace<'a> {
    paths: Paths,
    file: &'a mut TensorFile,
    error: Option<FormatError>,
}

impl<B: Backend> ModuleMapper<B> for Replace<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.paths.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.paths.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let tensor = match self.file.take(&self.paths.current(), &shape) {
            Ok(values) => {
                let data = TensorData::new(values, shape);
                Tensor::from_data(data, &tensor.device())
            }
            Err(error) => {
                self.error.get_or_insert(error);
                tensor
            }
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

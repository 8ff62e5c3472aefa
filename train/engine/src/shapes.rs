//! The tensors of a run: names and shapes, as they follow from its plan. A test of the trainer holds them to the
//! network that trains.

use std::collections::BTreeMap;

use lmtrain_runs::Plan;
use lmtrain_runs::recipe::Norm;

/// The shape of each tensor of a plan's network, by its name.
#[must_use]
pub fn shapes(plan: &Plan) -> BTreeMap<String, Vec<usize>> {
    let (width, vocabulary) = (plan.size.width, plan.tokenization.vocabulary());
    let inner = 4 * width;
    let choices = &plan.choices;
    let mut shapes = BTreeMap::from([
        ("embedding".to_owned(), vec![plan.embedding_rows(), width]),
        ("head".to_owned(), vec![width, vocabulary]),
    ]);
    if choices.biases {
        shapes.insert("head_bias".to_owned(), vec![vocabulary]);
    }
    for block in 0..plan.size.layers {
        let mut add = |name: &str, shape: &[usize]| {
            shapes.insert(format!("blocks.{block}.{name}"), shape.to_vec());
        };
        add("qkv", &[width, 3 * width]);
        add("proj", &[width, width]);
        add("up", &[width, inner]);
        add("down", &[inner, width]);
        if choices.qk_norm {
            add("gain", &[plan.heads()]);
        }
        if choices.biases {
            add("up_bias", &[inner]);
            add("down_bias", &[width]);
        }
        if choices.norm == Norm::PostLayer {
            for norm in ["attention_norm", "mlp_norm"] {
                add(&format!("{norm}.scale"), &[width]);
                add(&format!("{norm}.offset"), &[width]);
            }
        }
    }
    shapes
}

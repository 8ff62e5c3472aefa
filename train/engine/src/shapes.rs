//! The tensors of a run: names and shapes, which follow from its plan. A test in `lmtrain-train` compares them with the
//! network that is trained.

use std::collections::BTreeMap;

use lmtrain_runs::Plan;
use lmtrain_runs::plan::CONVOLUTION_TAPS;
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
    if choices.embedding_convolution {
        shapes.insert("embedding_convolution".to_owned(), vec![CONVOLUTION_TAPS * width]);
    }
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
        if choices.residual_scalars {
            add("residual", &[2]);
        }
        if choices.skip_from(block, plan.size.layers).is_some() {
            add("skip", &[2]);
        }
        if choices.block_convolution {
            add("convolution", &[CONVOLUTION_TAPS * width]);
        }
        if choices.qkv_convolution {
            add("qkv_convolution", &[CONVOLUTION_TAPS * 3 * width]);
        }
        if choices.has_values(block, plan.size.layers) {
            add("values", &[plan.embedding_rows(), width]);
        }
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

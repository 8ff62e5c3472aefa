//! What a network is to the engine: widths, norms and packed weights, in the order they are used.

use lmtrain_kernels::{AttentionHeads, Gate, PackedWeights, RotaryTable, RowNorm, TAPS};

/// The position of the norms relative to a layer's two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// x + attention(norm x), then x + mlp(norm x); norms may be absent, and others stand after the two parts.
    PreNorm,
    /// x + attention(norm x) + mlp(norm x), both of the same x.
    Parallel,
    /// norm(x + attention x), then norm(x + mlp x).
    PostNorm,
}

/// A decoder-only Transformer. Every width is a multiple of 16, the stream, heads and MLPs being filled up with zeros.
pub struct Transformer {
    /// Numbers of a token in the residual stream.
    pub width: usize,
    /// Most tokens of a sequence.
    pub context: usize,
    /// [width, known tokens]: a column for each token; the head's columns if absent.
    pub embedding: Option<PackedWeights>,
    /// What embeddings are multiplied by.
    pub embedding_scale: f32,
    /// Learned positions [context, width], added to the embeddings.
    pub positions: Option<Vec<f32>>,
    /// Norm of the embeddings.
    pub embedding_norm: Option<RowNorm>,
    /// Of the embeddings, along time: [4, width].
    pub embedding_convolution: Option<Vec<f32>>,
    /// Rotations of queries and keys, each for `context` positions; a layer says which is its.
    pub rotary: Vec<RotaryTable>,
    /// Where the layers' norms stand.
    pub order: Order,
    /// What attention and MLP are multiplied by before the stream takes them up.
    pub residual_scale: f32,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// Norm before the head.
    pub final_norm: Option<RowNorm>,
    /// [width, vocabulary].
    pub head: PackedWeights,
    /// Logits become c · tanh(logit / c).
    pub soft_cap: Option<f32>,
}

/// What a layer does with the stream before it reads it.
#[derive(Default)]
pub struct Entry {
    /// Weights of the stream and of the embedding.
    pub residual: Option<[f32; 2]>,
    /// An earlier layer, and weights of the stream and of what came out of that.
    pub skip: Option<(usize, [f32; 2])>,
    /// Of the stream, along time: [4, width].
    pub convolution: Option<Vec<f32>>,
}

/// What stands between a layer's products and its attention.
#[derive(Default)]
pub struct Between {
    /// Of queries, keys and values, along time: [4, heads.row()].
    pub convolution: Option<Vec<f32>>,
    /// [values of a token, known tokens]: what is added to the values.
    pub values: Option<PackedWeights>,
}

/// One layer: attention and MLP around the residual stream.
pub struct Layer {
    /// What happens to the stream before.
    pub entry: Entry,
    /// The attention's norm: before or after it, as the order says.
    pub attention_norm: Option<RowNorm>,
    /// Norm of what the attention gives, before the stream takes it up.
    pub attention_after: Option<RowNorm>,
    /// Shape and scales of the attention.
    pub heads: AttentionHeads,
    /// Which of the network's rotations turns its queries and keys, if one does.
    pub rotary: Option<usize>,
    /// [width, heads.row()]: queries, keys, values.
    pub qkv: PackedWeights,
    /// What happens to queries, keys and values before they are prepared.
    pub between: Between,
    /// [heads.width(), width]: what the heads give back to the stream.
    pub mixing: PackedWeights,
    /// The MLP's norm.
    pub mlp_norm: Option<RowNorm>,
    /// Norm of what the MLP gives, before the stream takes it up.
    pub mlp_after: Option<RowNorm>,
    /// [width, inner]: what gates the MLP, in networks that multiply: activation(gate x)·(up x).
    pub gate: Option<PackedWeights>,
    /// [width, inner].
    pub up: PackedWeights,
    /// What follows `gate`, or `up` where there is none.
    pub activation: Gate,
    /// [inner, width], filled up to `up`'s stride.
    pub down: PackedWeights,
}

impl Transformer {
    /// The table of embeddings.
    #[must_use]
    pub fn embedding(&self) -> &PackedWeights {
        self.embedding.as_ref().unwrap_or(&self.head)
    }

    /// The rotation of a layer's queries and keys.
    pub(super) fn rotary_of(&self, layer: &Layer) -> Option<&RotaryTable> {
        layer.rotary.and_then(|index| self.rotary.get(index))
    }

    /// Memory that the packed weights take.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|layer| {
            let Layer { qkv, mixing, gate, up, down, between, .. } = layer;
            [Some(qkv), Some(mixing), gate.as_ref(), Some(up), Some(down), between.values.as_ref()]
        });
        let ends = [self.embedding.as_ref(), Some(&self.head)];
        layers.chain(ends).flatten().map(PackedWeights::bytes).sum()
    }

    /// Checks that all parts fit together.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { width, context, .. } = *self;
        fits("the width", width.is_multiple_of(16) && width > 0)?;
        fits("the context", context > 0)?;
        let shape = |name: &str, weights: &PackedWeights, inputs: usize, outputs: usize| {
            fits(name, weights.inputs() == inputs && weights.outputs() == outputs)
        };
        shape("the embedding", self.embedding(), width, self.embedding().outputs())?;
        shape("the head", &self.head, width, self.head.outputs())?;
        fits("the vocabulary", self.head.outputs() > 0)?;
        let positions = self.positions.as_ref().map(Vec::len);
        fits("the positions", positions.is_none_or(|numbers| numbers == context * width))?;
        let taps = |name: &str, weights: &Option<Vec<f32>>, width: usize| {
            fits(name, weights.as_ref().is_none_or(|weights| weights.len() == TAPS * width))
        };
        taps("the embedding's convolution", &self.embedding_convolution, width)?;
        fits("the embedding's norm", norm_fits(self.embedding_norm.as_ref(), width))?;
        fits("the final norm", norm_fits(self.final_norm.as_ref(), width))?;
        for (index, layer) in self.layers.iter().enumerate() {
            let heads = &layer.heads;
            let inner = layer.up.outputs();
            let turns = |index: usize| {
                let fits = |it: &RotaryTable| it.dims() == heads.dims && it.positions() >= context;
                self.rotary.get(index).is_some_and(fits)
            };
            let check = || {
                fits("the heads", heads.fits())?;
                fits("the rotation", layer.rotary.is_none_or(turns))?;
                shape("qkv", &layer.qkv, width, heads.row())?;
                taps("the convolution", &layer.entry.convolution, width)?;
                taps("the convolution of qkv", &layer.between.convolution, heads.row())?;
                fits("the skip", layer.entry.skip.is_none_or(|(from, _)| from < index))?;
                let (values, known) = (heads.key_heads * heads.dims, self.embedding().outputs());
                let table = layer.between.values.as_ref();
                table.map_or(Ok(()), |table| shape("the values", table, values, known))?;
                shape("mixing", &layer.mixing, heads.width(), width)?;
                shape("up", &layer.up, width, inner)?;
                layer.gate.as_ref().map_or(Ok(()), |gate| shape("gate", gate, width, inner))?;
                shape("down", &layer.down, layer.up.stride(), width)?;
                fits("the attention's norm", norm_fits(layer.attention_norm.as_ref(), width))?;
                fits("the MLP's norm", norm_fits(layer.mlp_norm.as_ref(), width))?;
                let after = norm_fits(layer.attention_after.as_ref(), width);
                fits("the norm after the attention", after)?;
                fits("the norm after the MLP", norm_fits(layer.mlp_after.as_ref(), width))
            };
            check().map_err(|error: String| format!("layer {index}: {error}"))?;
        }
        Ok(())
    }
}

fn fits(name: &str, condition: bool) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("{name} does not fit the rest of the network")) }
}

fn norm_fits(norm: Option<&RowNorm>, width: usize) -> bool {
    norm.is_none_or(|norm| norm.fits(width))
}

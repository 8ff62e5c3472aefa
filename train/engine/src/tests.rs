//! The engine's contract: the same bits at every SIMD level and thread count, for any number of sequences of any
//! lengths, whole or step by step. A test in `lmtrain-train` compares the engine with the network that is trained.

use std::ops::ControlFlow;
use std::sync::Mutex;

use lmtrain_runs::random::SplitMix64;
use proptest::prelude::*;

use super::*;
use lmtrain_kernels::{
    AttentionHeads, Gate, HeadNorm, HeldAs, Level, NormOf, PackedPrecision, PackedWeights,
    RotaryTable, RowNorm, with_level,
};

/// Numbers of a uniform distribution within ±scale; matrices of levels within ±`levels`, if that is said.
struct Draw(SplitMix64, Option<u8>);

impl Draw {
    fn numbers(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| (self.0.below(2001) as f32 / 1000.0 - 1.0) * scale).collect()
    }

    fn matrix(&mut self, precision: PackedPrecision, shape: [usize; 2]) -> PackedWeights {
        let numbers = self.numbers(shape[0] * shape[1], 2.0 / (shape[0] as f32).sqrt());
        if let Some(largest) = self.1 {
            let scale = 2.0 / (shape[0] as f32).sqrt() / f32::from(largest);
            return PackedWeights::pack_int8(shape, |output, column| {
                let numbers = numbers[output * shape[0]..][..shape[0]].iter();
                column
                    .iter_mut()
                    .zip(numbers)
                    .for_each(|(to, it)| *to = (it / scale).round() as i8);
                scale * (1.0 + output as f32 / 100.0)
            });
        }
        PackedWeights::pack(precision, shape, |output, column| {
            column.copy_from_slice(&numbers[output * shape[0]..][..shape[0]]);
        })
    }

    fn norm(&mut self, layer: bool) -> Option<RowNorm> {
        let scale = self.numbers(WIDTH, 0.3).into_iter().map(|x| 1.0 + x).collect();
        Some(match layer {
            true => RowNorm::Layer { scale, offset: self.numbers(WIDTH, 0.2), epsilon: 1e-5 },
            false => RowNorm::Rms { scale: Some(scale), epsilon: 1e-6 },
        })
    }
}

const WIDTH: usize = 48;
const VOCABULARY: usize = 70;
/// Kinds of networks.
const KINDS: usize = 8;

/// Small networks which together have every choice: GPT-2's, GPT-NeoX', Llama's, Qwen's, Gemma's and OLMo's, and two of
/// whole numbers.
fn network(kind: usize, context: usize) -> Transformer {
    // The last two are two of the others, of whole numbers.
    let (kind, levels) = match kind {
        6 => (3, Some(127)),
        7 => (1, Some(7)),
        kind => (kind, None),
    };
    let mut draw = Draw(SplitMix64::new(kind as u64), levels);
    let precisions = [PackedPrecision::Half, PackedPrecision::Single, PackedPrecision::Bfloat];
    let precision = precisions[kind % 3];
    let (heads, key_heads, dimension): (_, _, usize) =
        [(3, 3, 16), (2, 2, 24), (6, 2, 8), (4, 1, 20), (4, 2, 12), (3, 3, 40)][kind];
    let dims = dimension.next_multiple_of(16_usize);
    let (layer_norm, gated) = (kind < 2, kind >= 2);
    let order = match kind {
        1 => Order::Parallel,
        3 => Order::PostNorm,
        _ => Order::PreNorm,
    };
    // Two of the kinds have all that may stand between blocks, two norm what the stream takes up.
    let (more, after) = (kind == 1 || kind == 3, kind > 3);
    let of = [NormOf::Head, NormOf::CentredHead, NormOf::AllHeads];
    let norm = |of| HeadNorm { of, dimensions: dimension, epsilon: 1e-6 };
    let layers = (0..2).map(|index| {
        let scale = AttentionHeads::score_scale(dimension);
        let heads = AttentionHeads {
            heads,
            key_heads,
            dims,
            norm: (kind >= 3).then(|| norm(of[kind - 3])),
            query_scale: vec![scale; heads * dims],
            key_scale: draw.numbers(key_heads * dims, 1.0),
            window: (kind == 2 || kind == 4 && index == 0).then_some(40),
            soft_cap: (kind == 4).then_some(1.5),
            held: match kind {
                0 | 1 => HeldAs::Halves,
                3 => HeldAs::Bytes,
                _ => HeldAs::Singles,
            },
        };
        let inner = 90;
        let entry = Entry {
            residual: more.then_some([0.9, 0.3]),
            skip: (more && index == 1).then_some((0, [0.8, 0.4])),
            convolution: more.then(|| draw.numbers(4 * WIDTH, 0.6)),
        };
        let values = [key_heads * dims, VOCABULARY + 1];
        let between = Between {
            convolution: more.then(|| draw.numbers(4 * heads.row(), 0.6)),
            values: more.then(|| draw.matrix(precision, values)),
        };
        Layer {
            entry,
            between,
            attention_norm: draw.norm(layer_norm).filter(|_| kind != 5),
            attention_after: draw.norm(false).filter(|_| after),
            rotary: match kind {
                0 => None,
                4 => Some(index),
                5 => (index == 0).then_some(0),
                _ => Some(0),
            },
            qkv: draw
                .matrix(precision, [WIDTH, heads.row()])
                .with_bias(&draw.numbers(heads.row(), 0.5)),
            mixing: draw.matrix(precision, [heads.width(), WIDTH]),
            mlp_norm: draw.norm(layer_norm).filter(|_| kind != 5),
            mlp_after: draw.norm(false).filter(|_| after),
            gate: gated.then(|| draw.matrix(precision, [WIDTH, inner])),
            up: draw.matrix(precision, [WIDTH, inner]).with_bias(&draw.numbers(inner, 0.5)),
            activation: [
                Gate::GeluTanh,
                Gate::GeluErf,
                Gate::Silu,
                Gate::ReluSquared,
                Gate::QuickGelu,
                Gate::Relu,
            ][kind],
            down: draw.matrix(precision, [96, WIDTH]),
            heads,
        }
    });
    let layers = layers.collect();
    let table =
        |base| RotaryTable::new(&rotary_frequencies(base, dimension, dimension / 4 * 2), context);
    Transformer {
        width: WIDTH,
        context,
        embedding: (kind != 0).then(|| draw.matrix(precision, [WIDTH, VOCABULARY + 1])),
        embedding_scale: [1.0, 3.0, 2.0, 1.0, 5.0, 1.0][kind],
        positions: (kind == 0).then(|| draw.numbers(context * WIDTH, 0.5)),
        embedding_convolution: more.then(|| draw.numbers(4 * WIDTH, 0.6)),
        embedding_norm: if kind == 3 { draw.norm(false) } else { None },
        rotary: if kind == 0 { Vec::new() } else { [1e4, 300.0].map(table).into() },
        residual_scale: if kind == 4 { 0.4 } else { 1.0 },
        order,
        layers,
        final_norm: draw.norm(layer_norm),
        head: draw.matrix(precision, [WIDTH, VOCABULARY]),
        soft_cap: (kind == 3).then_some(10.0),
    }
}

fn engine(kind: usize, context: usize) -> Engine {
    Engine::new(network(kind, context)).expect("the parts fit")
}

fn sequences(lengths: &[usize], seed: u64) -> Vec<Vec<u32>> {
    let mut random = SplitMix64::new(seed);
    let mut token = || random.below(VOCABULARY as u64) as u32;
    lengths.iter().map(|length| (0..*length).map(|_| token()).collect()).collect()
}

fn slices(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
    sequences.iter().map(Vec::as_slice).collect()
}

/// Numbers of each sequence.
type Each = Vec<Vec<f32>>;

/// Every row of each sequence, and every score.
fn whole(engine: &Engine, sequences: &[Vec<u32>]) -> (Each, Each) {
    let rows = Mutex::new(vec![Vec::new(); sequences.len()]);
    engine.rows(0, &slices(sequences), &|index, first, part| {
        let mut rows = rows.lock().expect("no panic");
        assert_eq!(rows[index].len(), first * VOCABULARY);
        rows[index].extend_from_slice(part);
        ControlFlow::Continue(())
    });
    (rows.into_inner().expect("no panic"), engine.score(0, &slices(sequences)))
}

/// Every row of sequences of one length, in steps of these sizes over and over.
fn stepped(engine: &Engine, sequences: &[Vec<u32>], sizes: &[usize]) -> Vec<Vec<f32>> {
    let length = sequences[0].len();
    let mut session = engine.session(sequences.len(), length);
    let mut all = vec![Vec::new(); sequences.len()];
    let mut part = Vec::new();
    // A session that has been used before is as good as new.
    session.step(&vec![1; sequences.len()], 1, &mut part);
    session.restart();
    let (mut position, mut sizes) = (0, sizes.iter().cycle());
    while position < length {
        let count = (*sizes.next().expect("a size")).min(length - position);
        let input = |sequence: &[u32], at: usize| if at == 0 { 0 } else { sequence[at - 1] };
        let inputs: Vec<u32> = sequences
            .iter()
            .flat_map(|sequence| (position..position + count).map(|at| input(sequence, at)))
            .collect();
        session.step(&inputs, count, &mut part);
        for (all, part) in all.iter_mut().zip(part.chunks_exact(count * VOCABULARY)) {
            all.extend_from_slice(part);
        }
        position += count;
    }
    all
}

fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool").install(work)
}

#[test]
fn levels_threads_and_steps_agree() {
    for kind in 0..KINDS {
        let engine = engine(kind, 300);
        let sequences = sequences(&[300, 300, 17, 1, 0, 300, 131], kind as u64);
        let same_length = &sequences[..2];
        let run = || (whole(&engine, &sequences), stepped(&engine, same_length, &[1, 3, 100]));
        let expected = with_level(Level::SCALAR, run);
        assert!(expected.0.0[..2] == expected.1[..], "{kind}: whole and stepped");
        for level in Level::all_available() {
            for threads in [1, 2, 7] {
                let found = in_pool(threads, || with_level(level, run));
                assert!(found == expected, "{kind}: {level}, {threads} threads");
            }
        }
        for (rows, (scores, tokens)) in expected.0.0.iter().zip(expected.0.1.iter().zip(&sequences))
        {
            for ((row, score), token) in rows.chunks_exact(VOCABULARY).zip(scores).zip(tokens) {
                let bits = -f64::from(row[*token as usize]).log2();
                assert!((bits - f64::from(*score)).abs() < 1e-4, "{kind}: {bits} {score}");
                let sum: f64 = row.iter().copied().map(f64::from).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{kind}: {sum}");
            }
        }
    }
}

#[test]
fn the_longest_chunks_agree_too() {
    let engine = engine(2, 2048);
    let sequences = sequences(&[2048; 3], 1);
    assert!(whole(&engine, &sequences).0 == stepped(&engine, &sequences, &[1, 700]));
}

#[test]
fn parts_that_do_not_fit_are_named() {
    let error = |change: fn(&mut Transformer)| {
        let mut network = network(1, 20);
        change(&mut network);
        Engine::new(network).err().expect("refused")
    };
    assert!(error(|network| network.width = 40).contains("width"));
    assert!(error(|network| network.context = 21).contains("rotation"));
    assert!(error(|network| network.layers[1].heads.dims = 16).contains("layer 1: the heads"));
    let skip = |network: &mut Transformer| network.layers[1].entry.skip = Some((1, [1.0; 2]));
    assert!(error(skip).contains("layer 1: the skip"));
    let taps = |network: &mut Transformer| network.embedding_convolution = Some(vec![1.0; 5]);
    assert!(error(taps).contains("the embedding's convolution"));
    assert!(
        error(|network| network.final_norm =
            Some(RowNorm::Rms { scale: Some(vec![1.0; 5]), epsilon: 0.0 }))
        .contains("final norm")
    );
}

#[test]
fn sessions_are_as_wide_as_their_caches_fit() {
    // Two layers of 3 heads of 16: 384 bytes a token.
    assert_eq!(engine(0, 300).side_by_side(), 2);
    let mut wide = network(0, 2048);
    wide.layers.extend((0..10).flat_map(|_| network(0, 2048).layers));
    assert_eq!(Engine::new(wide).expect("the parts fit").side_by_side(), 1);
}

#[test]
fn a_break_stops_every_thread() {
    let engine = engine(0, 64);
    let sequences = sequences(&[64; 40], 2);
    let calls = Mutex::new(0);
    engine.rows(0, &slices(&sequences), &|_, _, _| {
        *calls.lock().expect("no panic") += 1;
        ControlFlow::Break(())
    });
    assert!(*calls.lock().expect("no panic") <= rayon::current_num_threads());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_batch_of_any_lengths_gives_each_sequence_its_bits(
        kind in 0..KINDS,
        lengths in prop::collection::vec(0_usize..90, 1..64),
        threads in 1_usize..5,
        steps in prop::collection::vec(1_usize..20, 1..5),
        seed: u64,
    ) {
        let engine = engine(kind, 90);
        let sequences = sequences(&lengths, seed);
        let (rows, scores) = in_pool(threads, || whole(&engine, &sequences));
        let pick = seed as usize % sequences.len();
        if !sequences[pick].is_empty() {
            let alone = &sequences[pick..=pick];
            prop_assert!(rows[pick] == stepped(&engine, alone, &steps)[0]);
            prop_assert!(scores[pick] == engine.score(0, &slices(alone))[0]);
        }
    }
}

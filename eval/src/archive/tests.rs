//! Archives round-trip, account for every byte, and withstand damage of any kind.

use std::io::{self, Read};
use std::ops::ControlFlow;

use lmtrain_runs::random::SplitMix64;
use lmtrain_tokenizers::{ByteTokenizer, Tokenizer};
use proptest::prelude::*;

use super::*;
use crate::testing::{CountModel, NoSpaces, PairTokenizer, text};

fn go(_: ArchiveProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Small blocks, so that small inputs have several.
fn options(predictor: &CountModel) -> ArchiveOptions {
    let options = ArchiveOptions::new("50K-bytes-modern-s0", predictor);
    let layout = Layout { stream_chunks: 3, group_chunks: 2 };
    ArchiveOptions { chunk_tokens: 30, block_bytes: 160, layout, ..options }
}

fn pack(
    raw: &[u8],
    model: &CountModel,
    tokenizer: &dyn Tokenizer,
    options: &ArchiveOptions,
) -> (Vec<u8>, ArchiveSummary) {
    let mut archive = Vec::new();
    let summary = compress(&mut &raw[..], &mut archive, model, tokenizer, options, &mut go);
    (archive, summary.expect("compresses"))
}

fn unpack(
    archive: impl Read,
    model: &CountModel,
    tokenizer: &dyn Tokenizer,
) -> Result<(Vec<u8>, ArchiveSummary), ArchiveError> {
    let mut raw = Vec::new();
    let reader = ArchiveReader::open(archive)?;
    let summary = reader.decompress(model, tokenizer, &mut raw, &mut go)?;
    Ok((raw, summary))
}

fn sample(length: usize) -> Vec<u8> {
    text(length, 256, 5).into_iter().map(|token| token as u8).collect()
}

fn noise(length: usize) -> Vec<u8> {
    let mut random = SplitMix64::new(1);
    (0..length).map(|_| random.below(256) as u8).collect()
}

/// An archive of three blocks with a model in it.
fn example() -> (Vec<u8>, CountModel) {
    let model = CountModel::exact(256);
    let embedded = Some(Embedded { vocabulary: b"word".to_vec(), weights: vec![9; 50] });
    let options = ArchiveOptions { embedded, ..options(&model) };
    (pack(&sample(400), &model, &ByteTokenizer, &options).0, model)
}

#[test]
fn every_byte_is_accounted_for_and_the_model_comes_back() {
    let (archive, model) = example();
    let mut reader = ArchiveReader::open(&archive[..]).expect("opens");
    assert_eq!(reader.header().model, "50K-bytes-modern-s0");
    assert!(reader.header().exact);
    let embedded = reader.take_embedded().expect("embedded");
    assert_eq!((&embedded.vocabulary[..], embedded.weights.len()), (&b"word"[..], 50));
    let (raw, summary) = unpack(&archive[..], &model, &ByteTokenizer).expect("unpacks");
    assert_eq!(raw, sample(400));
    assert_eq!(summary.archive_bytes(), Bytes(archive.len() as u64));
    assert_eq!(summary.model_bytes, Bytes(58));
    assert_eq!(summary.framing_bytes, Bytes(3 * 17 + 45));
}

#[test]
fn empty_and_one_byte_files_come_back() {
    for tokenizer in [&ByteTokenizer as &dyn Tokenizer, &PairTokenizer] {
        let model = CountModel::exact(300);
        for raw in [&b""[..], b"x", b"aa"] {
            let (archive, summary) = pack(raw, &model, tokenizer, &options(&model));
            assert_eq!(summary.archive_bytes().0, archive.len() as u64);
            let (restored, again) = unpack(&archive[..], &model, tokenizer).expect("unpacks");
            assert_eq!(restored, raw);
            assert_eq!(ArchiveSummary { ideal_bits: summary.ideal_bits, ..again }, summary);
        }
    }
}

#[test]
fn a_long_file_costs_its_ideal_bits() {
    let model = CountModel::exact(256);
    let raw = sample(300_000);
    let (archive, summary) = pack(&raw, &model, &ByteTokenizer, &ArchiveOptions::new("m", &model));
    assert_eq!(unpack(&archive[..], &model, &ByteTokenizer).expect("unpacks").0, raw);
    let ideal = summary.ideal_bits.expect("measured").as_bytes();
    assert!(summary.payload_bytes.as_f64() / ideal - 1.0 < 5e-4);
    assert!(archive.len() as f64 / ideal - 1.0 < 2e-3, "{summary:?}");
}

#[test]
fn what_coding_makes_longer_is_stored() {
    let noise = noise(1000);
    let model = CountModel::exact(300);
    for tokenizer in [&ByteTokenizer as &dyn Tokenizer, &PairTokenizer] {
        let options = options(&model);
        let (empty, _) = pack(b"", &model, tokenizer, &options);
        let (archive, summary) = pack(&noise, &model, tokenizer, &options);
        assert_eq!(archive.len(), empty.len() + noise.len() + 9 * 7, "9 bytes a block");
        assert_eq!((summary.stored_bytes, summary.payload_bytes), (Bytes(1000), Bytes(0)));
        assert_eq!((summary.tokens, summary.ideal_bits), (0, Some(Bits(0.0))));
        let (restored, again) = unpack(&archive[..], &model, tokenizer).expect("unpacks");
        assert!(restored == noise);
        assert_eq!(ArchiveSummary { ideal_bits: summary.ideal_bits, ..again }, summary);
        // Block by block: the first is text, and coded.
        let mixed = [&sample(160), &noise[..300]].concat();
        let (archive, summary) = pack(&mixed, &model, tokenizer, &options);
        assert_eq!(summary.stored_bytes, Bytes(300));
        assert!(summary.payload_bytes.0 > 0);
        assert!(unpack(&archive[..], &model, tokenizer).expect("unpacks").0 == mixed);
    }
}

#[test]
fn what_cannot_be_spelt_is_stored() {
    let model = CountModel::exact(256);
    let raw =
        [&b"no_spaces_".repeat(16)[..], &b"a space   ".repeat(16), &b"_ends_".repeat(20)].concat();
    let (archive, summary) = pack(&raw, &model, &NoSpaces, &options(&model));
    assert_eq!((summary.stored_bytes, summary.unspelt), (Bytes(160), Some(b' ')));
    assert!(unpack(&archive[..], &model, &NoSpaces).expect("unpacks").0 == raw);
    let (_, summary) = pack(b"none", &model, &NoSpaces, &options(&model));
    assert_eq!(summary.unspelt, None);
}

/// An archive as format 4 had it: without a number for its arithmetic.
fn as_version_4(archive: &[u8]) -> Vec<u8> {
    let head = 8 + 4 + 12 + 64 + 1 + "bytes".len() + 1 + "50K-bytes-modern-s0".len();
    let mut older = [&archive[..8], &[4, archive[9]], &archive[12..head]].concat();
    older.extend(crc32fast::hash(&older).to_le_bytes());
    older.extend(&archive[head + 4..]);
    older
}

#[test]
fn archives_name_their_format_and_their_arithmetic() {
    let model = CountModel::exact(256);
    let raw = sample(400);
    let (archive, _) = pack(&raw, &model, &ByteTokenizer, &options(&model));
    assert_eq!(archive[8..12], [5, 2, 4, 0]);
    let (restored, _) = unpack(&as_version_4(&archive)[..], &model, &ByteTokenizer).expect("reads");
    assert_eq!(restored, raw);
    for version in [0, 3, 6, 255] {
        let mut other = archive.clone();
        other[8] = version;
        let error = ArchiveReader::open(&other[..]).expect_err("another version");
        assert!(error.to_string().contains("reads versions 4 to 5"), "{error}");
    }
    let head = archive.len() - unsealed(&archive).len();
    let mut other = archive.clone();
    other[10] = 9;
    let seal = crc32fast::hash(&other[..head - 4]).to_le_bytes();
    other[head - 4..head].copy_from_slice(&seal);
    let message = ArchiveReader::open(&other[..]).expect_err("another arithmetic").to_string();
    assert!(message.contains("version 9") && message.contains("version 4"), "{message}");
}

/// What follows an archive's head.
fn unsealed(archive: &[u8]) -> &[u8] {
    let model = CountModel::exact(256);
    let (empty, _) = pack(b"", &model, &ByteTokenizer, &options(&model));
    &archive[empty.len() - 45..]
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (archive, model) = example();
    for at in 0..archive.len() {
        for bit in 0..8 {
            let mut flipped = archive.clone();
            flipped[at] ^= 1 << bit;
            assert!(unpack(&flipped[..], &model, &ByteTokenizer).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn every_truncation_and_any_addition_is_noticed() {
    let (mut archive, model) = example();
    for length in 0..archive.len() {
        let error = unpack(&archive[..length], &model, &ByteTokenizer).expect_err("cut short");
        let expected = if length < 8 {
            matches!(error, ArchiveError::Magic)
        } else {
            matches!(error, ArchiveError::Truncated { at } if at <= length as u64)
        };
        assert!(expected, "{length}: {error}");
    }
    archive.push(0);
    let error = unpack(&archive[..], &model, &ByteTokenizer).expect_err("goes on");
    assert!(matches!(error, ArchiveError::Surplus { .. }), "{error}");
}

#[test]
fn blocks_cannot_be_swapped_or_left_out() {
    let model = CountModel::exact(256);
    let pack = |raw: &[u8]| pack(raw, &model, &ByteTokenizer, &options(&model)).0;
    let raw = sample(320);
    let head = pack(b"").len() - 45;
    let first = pack(&raw[..160]).len() - 45 - head;
    let whole = pack(&raw);
    let trailer = whole.len() - 45;
    let (one, two) = whole[head..trailer].split_at(first);
    for body in [[two, one].concat(), one.to_vec(), [one, two, two].concat()] {
        let forged = [&whole[..head], &body, &whole[trailer..]].concat();
        let error = unpack(&forged[..], &model, &ByteTokenizer).expect_err("forged");
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    }
}

#[test]
fn the_wrong_model_or_tokenizer_is_named() {
    let (archive, mut model) = example();
    model.identity = [0xab; 32];
    let message = unpack(&archive[..], &model, &ByteTokenizer).expect_err("refused").to_string();
    for part in ["50K-bytes-modern-s0", "070707070707", "abababababab"] {
        assert!(message.contains(part), "{message}");
    }
    let model = CountModel::exact(300);
    let message = unpack(&archive[..], &model, &PairTokenizer).expect_err("refused").to_string();
    assert!(message.contains("`bytes`") && message.contains("`bpe-300`"), "{message}");
}

#[test]
fn a_predictor_that_changes_is_noticed() {
    let model = CountModel::inexact(256);
    let (archive, _) = pack(&sample(500), &model, &ByteTokenizer, &options(&model));
    let mut other = CountModel::exact(256);
    other.identity = model.identity;
    let error = unpack(&archive[..], &other, &ByteTokenizer).expect_err("another machine");
    assert!(matches!(error, ArchiveError::Restored { exact: false, .. }), "{error}");
    assert!(error.to_string().contains("different machines"));
}

#[test]
fn choices_out_of_bounds_are_refused() {
    let model = CountModel::exact(256);
    let good = options(&model);
    let refused = [
        ArchiveOptions { chunk_tokens: 0, ..good.clone() },
        ArchiveOptions { chunk_tokens: 5000, ..good.clone() },
        ArchiveOptions { block_bytes: 0, ..good.clone() },
        ArchiveOptions { block_bytes: 30 * 4096 + 1, ..good.clone() },
        ArchiveOptions { layout: Layout { group_chunks: 0, ..good.layout }, ..good.clone() },
        ArchiveOptions { layout: Layout { group_chunks: 65, ..good.layout }, ..good.clone() },
        ArchiveOptions { layout: Layout { stream_chunks: 0, ..good.layout }, ..good.clone() },
        ArchiveOptions { model: "x".repeat(256), ..good.clone() },
    ];
    for options in refused {
        let result =
            compress(&mut io::empty(), &mut io::sink(), &model, &ByteTokenizer, &options, &mut go);
        assert!(matches!(result, Err(ArchiveError::Limit { .. })), "{options:?}");
    }
    let small = compress(&mut io::empty(), &mut io::sink(), &model, &PairTokenizer, &good, &mut go);
    assert!(matches!(small, Err(ArchiveError::Limit { .. })), "256 tokens cannot say 300");
}

#[test]
fn lengths_that_lie_take_no_memory() {
    let model = CountModel::exact(256);
    let (archive, _) = pack(b"", &model, &ByteTokenizer, &options(&model));
    let head = archive.len() - 45 - 4;
    let mut hostile = archive[..head].to_vec();
    hostile[9] |= 1;
    hostile.extend([0xff; 24]);
    hostile.extend(crc32fast::hash(&hostile).to_le_bytes());
    let error = ArchiveReader::open(&hostile[..]).expect_err("2^64 bytes of plan");
    assert!(matches!(error, ArchiveError::Truncated { .. }), "{error}");
    let mut hostile = archive[..head + 4].to_vec();
    hostile.extend([1, 100, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let error = unpack(&hostile[..], &model, &ByteTokenizer).expect_err("4 GiB of payload");
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    let mut hostile = archive[..head + 4].to_vec();
    hostile.extend([2, 0xff, 0xff, 0xff, 0xff]);
    let error = unpack(&hostile[..], &model, &ByteTokenizer).expect_err("4 GiB as they are");
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
}

#[test]
fn a_break_stops() {
    let model = CountModel::exact(256);
    let stop = &mut |_: ArchiveProgress| ControlFlow::Break(());
    let options = options(&model);
    let (input, output) = (&mut &b"abc"[..], &mut io::sink());
    let stopped = compress(input, output, &model, &ByteTokenizer, &options, stop);
    assert!(stopped.expect_err("stopped").is_stopped());
    let (archive, model) = example();
    let reader = ArchiveReader::open(&archive[..]).expect("opens");
    let stopped = reader.decompress(&model, &ByteTokenizer, &mut io::sink(), stop);
    assert!(stopped.expect_err("stopped").is_stopped());
}

/// Gives one byte at a time, as a slow pipe may.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_file_comes_back(raw in prop::collection::vec(any::<u8>(), 0..1000), low: bool) {
        let raw: Vec<u8> = raw.into_iter().map(|byte| if low { b'a' + byte % 4 } else { byte }).collect();
        for tokenizer in [&ByteTokenizer as &dyn Tokenizer, &PairTokenizer] {
            for model in [CountModel::exact(300), CountModel::inexact(300)] {
                let (archive, _) = pack(&raw, &model, tokenizer, &options(&model));
                let restored = unpack(Trickle(&archive), &model, tokenizer).expect("unpacks").0;
                prop_assert_eq!(&restored, &raw);
            }
        }
    }

    #[test]
    fn garbage_is_an_error(garbage in prop::collection::vec(any::<u8>(), 0..400), at in 0_usize..300) {
        let (archive, model) = example();
        prop_assert!(unpack(&garbage[..], &model, &ByteTokenizer).is_err());
        let after_head = [&archive[..at.min(archive.len())], &garbage].concat();
        prop_assert!(after_head == archive
            || unpack(&after_head[..], &model, &ByteTokenizer).is_err());
    }
}

//! Measurements add up, resume to the same numbers, and refuse journals of other measurements.

use std::fs;

use lmtrain_runs::Medium;
use lmtrain_runs::record::Mask;
use lmtrain_runs::sweep::Shard;
use lmtrain_tokenizers::{ByteTokenizer, Tokenizer};

use super::*;
use crate::compressors;
use crate::predictor::Predictor;
use crate::testing::{CountModel, NoSpaces, PairTokenizer, ScriptedModel, text};

fn go(_: MeasureProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn corpus(length: usize) -> Vec<u8> {
    text(length, 256, 5).into_iter().map(|token| b'a'.wrapping_add(token as u8)).collect()
}

fn measurement<'a>(
    predictor: &'a dyn Predictor,
    tokenizer: &'a dyn Tokenizer,
    corpus: &'a [u8],
) -> Measurement<'a> {
    Measurement {
        predictor,
        tokenizer,
        corpus,
        corpus_sha256: "00",
        span: 0..corpus.len() as u64,
        chunking: Chunking::Bytes(100),
        sample: None,
        mask: None,
        curve: false,
        coding: false,
        group_chunks: 4,
    }
}

fn finished(outcome: Result<MeasureOutcome, MeasureError>) -> Measured {
    match outcome.expect("measures") {
        MeasureOutcome::Finished(measured) => Measured { seconds: 0.0, ..measured },
        other => panic!("{other:?}"),
    }
}

#[test]
fn sums_agree_and_coding_gives_the_same_ideal_bits() {
    let (model, corpus) = (CountModel::exact(300), corpus(1950));
    for tokenizer in [&ByteTokenizer as &dyn Tokenizer, &PairTokenizer] {
        let scored = finished(measurement(&model, tokenizer, &corpus).run(None, &mut go));
        assert_eq!((scored.raw_bytes, scored.chunks.len()), (Bytes(1950), 20));
        assert_eq!(scored.coded_bytes, None);
        let bits = scored.ideal_bits.expect("measured").0;
        assert!((scored.chunks.iter().map(|chunk| chunk.bits).sum::<f64>() - bits).abs() < 1e-6);
        assert_eq!(scored.curve, None);
        let [low, high] = scored.bits_interval(0).expect("many chunks");
        assert!(low.0 < bits && bits < high.0);

        let coding = Measurement { coding: true, ..measurement(&model, tokenizer, &corpus) };
        let coded = finished(coding.run(None, &mut go));
        let overhead = coded.coded_bytes.expect("coded").as_bits().0 - bits;
        assert!((0.0..8.0 * 5.0).contains(&overhead), "{overhead} bits for five groups");
        assert_close(&coded, &scored, 1e-6);
    }
}

/// The same counts, and the same bits but for rounding.
fn assert_close(one: &Measured, other: &Measured, limit: f64) {
    assert_eq!((one.raw_bytes, one.tokens), (other.raw_bytes, other.tokens));
    let close = |one: f64, other: f64| (one - other).abs() <= limit * other;
    let [ideal, expected] = [one, other].map(|it| it.ideal_bits.expect("measured").0);
    assert!(close(ideal, expected), "{ideal} {expected}");
    assert_eq!(one.chunks.len(), other.chunks.len());
    assert!(one.chunks.iter().zip(&other.chunks).all(|(one, other)| close(one.bits, other.bits)));
}

#[test]
fn a_sure_and_wrong_network_measures_the_same_with_and_without_the_coder() {
    let corpus: Vec<u8> =
        (0..20_000_u32).map(|at| if at % 3 == 0 { 3 } else { at as u8 }).collect();
    for (others, known) in [(1e-12, true), (0.0, false), (1.0 / 256.0, true)] {
        let model = ScriptedModel { sure_of: 3, others };
        let one = Measurement {
            chunking: Chunking::Bytes(2000),
            ..measurement(&model, &ByteTokenizer, &corpus)
        };
        let scored = finished(one.run(None, &mut go));
        let coded = finished(Measurement { coding: true, ..one }.run(None, &mut go));
        assert_close(&coded, &scored, 1e-6);
        let ideal = coded.ideal_bits.expect("measured");
        let overhead = coded.coded_bytes.expect("coded").as_bits().0 / ideal.0 - 1.0;
        assert!((0.0..1e-3).contains(&overhead), "{overhead}");
        // The floor: 30 bits, where the network itself says 40, or that it cannot be.
        let own = scored.cross_entropy_bits.expect("a network knows");
        assert!((own.0 / ideal.0 > 1.3) == (others < 1e-3), "{own:?} {ideal:?}");
        let by_coder = coded.cross_entropy_bits;
        assert_eq!(by_coder.is_some(), known, "what is 0 in f32 is not made a number of");
        assert!(by_coder.is_none_or(|bits| (bits.0 / own.0 - 1.0).abs() < 1e-6));
    }
}

#[test]
fn windows_that_overlap_are_what_a_plain_loop_finds() {
    let (model, corpus) = (CountModel::exact(300), corpus(1950));
    for tokenizer in [&ByteTokenizer as &dyn Tokenizer, &PairTokenizer] {
        let tokens = tokenizer.encode(&corpus).expect("bytes");
        for (window, stride) in [(100_usize, 30_usize), (64, 64), (300, 1), (50, 49)] {
            let (mut bits, mut own, mut done, mut pieces) = (0.0, 0.0, 0, 0);
            while done < tokens.len() {
                let end = if done == 0 { window } else { done + stride }.min(tokens.len());
                let start = end.saturating_sub(window);
                let scores = model.score(&[&tokens[start..end]]).expect("scores").remove(0);
                for score in &scores[done - start..] {
                    own += f64::from(*score);
                    bits += crate::quantize::bits_of(f64::from(*score), model.vocabulary());
                }
                (done, pieces) = (end, pieces + 1);
            }
            let chunking = Chunking::Strided { window: window as u64, stride: stride as u64 };
            let strided = Measurement { chunking, ..measurement(&model, tokenizer, &corpus) };
            let found = finished(strided.run(None, &mut go));
            assert_eq!((found.raw_bytes, found.tokens), (Bytes(1950), Some(tokens.len() as u64)));
            assert_eq!(found.chunks.len(), pieces);
            for (found, expected) in [(found.ideal_bits, bits), (found.cross_entropy_bits, own)] {
                let found = found.expect("measured").0;
                assert!(
                    (found / expected - 1.0).abs() < 1e-7,
                    "{window} {stride}: {found} {expected}"
                );
            }
        }
    }
    let refused = [(0, false), (301, false), (30, true)].map(|(stride, coding)| {
        let chunking = Chunking::Strided { window: 300, stride };
        let one = Measurement { chunking, coding, ..measurement(&model, &ByteTokenizer, &corpus) };
        one.run(None, &mut go).expect_err("cannot be").to_string()
    });
    assert!(refused[0].contains("stride") && refused[1].contains("stride"), "{refused:?}");
    assert!(refused[2].contains("cannot be coded"), "{refused:?}");
    let chunking = Chunking::Strided { window: model.context() as u64 + 1, stride: 1 };
    let long = Measurement { chunking, ..measurement(&model, &ByteTokenizer, &corpus) };
    assert!(long.run(None, &mut go).expect_err("too long").to_string().contains("context"));
}

#[test]
fn chunks_of_tokens_are_full_but_for_the_last() {
    let (model, corpus) = (CountModel::exact(300), corpus(1950));
    let chunking = Chunking::Tokens(100);
    let tokens = Measurement { chunking, ..measurement(&model, &PairTokenizer, &corpus) };
    let measured = finished(tokens.run(None, &mut go));
    assert_eq!(measured.raw_bytes, Bytes(1950));
    let count = PairTokenizer.encode(&corpus).expect("bytes").len();
    assert!(count < 1900, "some pairs are doubled: {count}");
    assert_eq!((measured.tokens, measured.chunks.len()), (Some(count as u64), count.div_ceil(100)));
    let [first, .., last] = &measured.chunks[..] else { panic!("more than one") };
    assert!(first.raw_bytes > 100 && last.raw_bytes < first.raw_bytes);
    let bytes = Measurement { chunking, ..measurement(&model, &ByteTokenizer, &corpus) };
    let expected = measurement(&model, &ByteTokenizer, &corpus);
    assert_eq!(finished(bytes.run(None, &mut go)), finished(expected.run(None, &mut go)));
}

#[test]
fn a_stopped_measurement_resumes_to_the_same_numbers() {
    let (model, corpus) = (CountModel::exact(256), corpus(1950));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chunks").join("a.jsonl");
    for coding in [false, true] {
        let all = Measurement { coding, ..measurement(&model, &ByteTokenizer, &corpus) };
        let expected = finished(all.run(None, &mut go));
        let mut stop = |progress: MeasureProgress| match progress.raw_bytes_done {
            0..800 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        assert_eq!(all.run(Some(&path), &mut stop).expect("stops"), MeasureOutcome::Stopped);
        let mut text = fs::read(&path).expect("two groups");
        text.extend(b"{\"measurement\":\"half a li");
        fs::write(&path, text).expect("written");
        for expected_resumed in [800, 1950] {
            let mut last = MeasureProgress::default();
            let mut see = |progress: MeasureProgress| {
                last = progress;
                ControlFlow::Continue(())
            };
            assert_eq!(finished(all.run(Some(&path), &mut see)), expected);
            assert_eq!((last.raw_bytes_resumed, last.raw_bytes), (expected_resumed, 1950));
        }
        fs::remove_file(&path).expect("removed");
    }
}

/// All that a measurement of a network can be, each of five groups or so.
fn kinds<'a>(one: &Measurement<'a>) -> Vec<Measurement<'a>> {
    let chunking = |chunking| Measurement { chunking, ..one.clone() };
    vec![
        one.clone(),
        Measurement { coding: true, ..one.clone() },
        Measurement { curve: true, ..one.clone() },
        Measurement { mask: Some(Mask::Cleared), coding: true, ..one.clone() },
        Measurement { sample: Some(Draw { chunks: 17, seed: 3 }), ..one.clone() },
        Measurement { span: 150..1501, ..one.clone() },
        chunking(Chunking::Tokens(100)),
        chunking(Chunking::Strided { window: 200, stride: 90 }),
    ]
}

#[test]
fn shares_in_any_order_are_the_whole() {
    let (model, corpus) = (CountModel::exact(300), corpus(1950));
    let orders = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];
    for all in kinds(&measurement(&model, &PairTokenizer, &corpus)) {
        let expected = finished(all.run(None, &mut go));
        for order in orders {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("chunks").join("a.jsonl");
            let share = |index| all.run_share(Shard { index, of: 3 }, &path, &mut go);
            for index in &order[..2] {
                let outcome = share(*index).expect("measures");
                assert!(matches!(outcome, MeasureOutcome::Partial { .. }), "{order:?} {outcome:?}");
            }
            assert_eq!(finished(share(order[2])), expected, "{order:?}");
            assert_eq!(finished(share(order[0])), expected, "any share has it now");
            assert_eq!(finished(all.run(Some(&path), &mut go)), expected, "as has the whole");
            assert!(!path.exists(), "which measured nothing itself");
        }
    }
}

#[test]
fn a_share_says_what_is_missing_and_resumes() {
    let (model, corpus) = (CountModel::exact(256), corpus(1950));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.jsonl");
    let all = Measurement { coding: true, ..measurement(&model, &ByteTokenizer, &corpus) };
    let expected = finished(all.run(None, &mut go));
    let share = |index, of, progress: &mut ProgressCallback<'_>| {
        all.run_share(Shard { index, of }, &path, progress).expect("measures")
    };
    let partial = |missing, shares: &[usize]| {
        let shares = shares.iter().map(|&index| Shard { index, of: 3 }).collect();
        MeasureOutcome::Partial { missing, of: 5, shares }
    };
    // Of five groups the shares have two, two and one.
    let mut last = MeasureProgress::default();
    let mut see = |progress: MeasureProgress| {
        last = progress;
        ControlFlow::Continue(())
    };
    assert_eq!(share(2, 3, &mut see), partial(3, &[1, 3]));
    assert_eq!((last.raw_bytes, last.raw_bytes_done, last.position), (800, 800, 1600));
    // One that is killed in the middle of its second line.
    let mut stop = |progress: MeasureProgress| match progress.raw_bytes_done {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    assert_eq!(share(1, 3, &mut stop), MeasureOutcome::Stopped);
    let own = folder.path().join("a.1-of-3.jsonl");
    let mut text = fs::read(&own).expect("one group");
    text.extend(b"{\"measurement\":\"half a li");
    fs::write(&own, text).expect("written");
    assert_eq!(share(3, 3, &mut go), partial(1, &[1]));
    let mut first = None;
    let mut see = |progress: MeasureProgress| {
        first = first.or(Some(progress).filter(|it| it.raw_bytes_done > 0));
        ControlFlow::Continue(())
    };
    assert_eq!(finished(Ok(share(1, 3, &mut see))), expected);
    let first = first.expect("progress");
    assert_eq!((first.raw_bytes, first.raw_bytes_resumed), (800, 400), "its first group is kept");
    // Whatever the shares are, a group that is measured counts.
    fs::remove_file(folder.path().join("a.3-of-3.jsonl")).expect("removed");
    let missing =
        MeasureOutcome::Partial { missing: 1, of: 5, shares: vec![Shard { index: 4, of: 4 }] };
    assert_eq!(share(1, 4, &mut go), missing);
    assert!(!folder.path().join("a.1-of-4.jsonl").exists(), "it had nothing to measure");
    assert_eq!(finished(all.run(Some(&path), &mut go)), expected, "the whole measures the rest");
    // More shares than groups: some have none.
    forget(&path).expect("removed");
    for index in 1..9 {
        assert!(matches!(share(index, 9, &mut go), MeasureOutcome::Partial { .. }) == (index < 5));
    }
}

#[test]
fn shares_of_another_measurement_or_damaged_ones_are_refused() {
    let (model, corpus) = (CountModel::exact(256), corpus(1950));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.jsonl");
    let one = measurement(&model, &ByteTokenizer, &corpus);
    let other = Measurement { span: 0..1900, ..one.clone() };
    let [first, second] = [1, 2].map(|index| Shard { index, of: 2 });
    other.run_share(first, &path, &mut go).expect("measures");
    let message = one.run_share(second, &path, &mut go).expect_err("refused").to_string();
    assert!(message.contains("a.1-of-2.jsonl") && message.contains("remove it"), "{message}");
    let own = folder.path().join("a.1-of-2.jsonl");
    let text = fs::read_to_string(&own).expect("two groups");
    fs::write(&own, text.replacen("\"tokens\":400", "\"tokens\":401", 1)).expect("written");
    let message = other.run_share(second, &path, &mut go).expect_err("damaged").to_string();
    assert!(message.contains("a.1-of-2.jsonl is damaged"), "{message}");
}

#[test]
fn another_measurement_or_damage_is_refused() {
    let (model, corpus) = (CountModel::exact(256), corpus(500));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.jsonl");
    let one = measurement(&model, &ByteTokenizer, &corpus);
    finished(one.run(Some(&path), &mut go));
    let others = [
        Measurement { coding: true, ..one.clone() },
        Measurement { span: 0..400, ..one.clone() },
        Measurement { corpus_sha256: "01", ..one.clone() },
        Measurement { chunking: Chunking::Tokens(100), ..one.clone() },
        Measurement { sample: Some(Draw { chunks: 2, seed: 1 }), ..one.clone() },
    ];
    for other in others {
        assert_ne!(other.fingerprint(), one.fingerprint());
        let message = other.run(Some(&path), &mut go).expect_err("refused").to_string();
        assert!(message.contains("a.jsonl") && message.contains("remove it"), "{message}");
    }
    fs::write(&path, "{}\n").expect("written");
    assert!(matches!(one.run(Some(&path), &mut go), Err(MeasureError::Journal(_))));
}

#[test]
fn samples_and_spans_are_what_was_asked_for() {
    let (model, corpus) = (CountModel::exact(256), corpus(1950));
    let one = measurement(&model, &ByteTokenizer, &corpus);
    let draw = |chunks| Some(Draw { chunks, seed: 3 });
    let some = finished(Measurement { sample: draw(7), ..one.clone() }.run(None, &mut go));
    assert_eq!((some.chunks.len(), some.sample.expect("a sample").of), (7, 20));
    let all = finished(Measurement { sample: draw(20), ..one.clone() }.run(None, &mut go));
    assert_eq!((all.chunks.len(), all.sample), (20, None));
    let none = finished(Measurement { span: 5..5, ..one.clone() }.run(None, &mut go));
    assert_eq!(
        (none.raw_bytes, none.tokens, none.ideal_bits),
        (Bytes(0), Some(0), Some(Bits(0.0)))
    );
    for span in [0..1951, 2000..2001, u64::MAX - 1..u64::MAX] {
        let outside = Measurement { span, ..one.clone() }.run(None, &mut go);
        assert!(matches!(outside, Err(MeasureError::Span { .. })));
    }
    for chunking in [Chunking::Whole, Chunking::Bytes(0), Chunking::Tokens(0)] {
        let odd = Measurement { chunking, ..one.clone() }.run(None, &mut go);
        assert!(matches!(odd, Err(MeasureError::Chunking { .. })));
    }
}

#[test]
fn compressors_count_their_header_once_and_resume() {
    let corpus = corpus(200_000);
    let folder = tempfile::tempdir().expect("a folder");
    for compressor in &compressors::COMPRESSORS {
        let path = folder.path().join(compressor.name);
        let chunked = CompressorMeasurement {
            compressor,
            corpus: &corpus,
            corpus_sha256: "00",
            medium: Medium::Bytes,
            span: 100..150_000,
            chunking: Chunking::Bytes(200),
            sample: None,
        };
        let stop = &mut |_: MeasureProgress| ControlFlow::Break(());
        assert_eq!(chunked.run(Some(&path), stop).expect("stops"), MeasureOutcome::Stopped);
        let measured = finished(chunked.run(Some(&path), &mut go));
        let lengths = corpus[100..150_000].chunks(200);
        let lengths: u64 = lengths
            .map(|chunk| {
                compressor.compress_chunk(chunk, Medium::Bytes).expect("works").len() as u64
            })
            .sum();
        let (header, chunks) = (measured.header_bytes.0, measured.chunks.len() as u64);
        assert_eq!((measured.raw_bytes, chunks), (Bytes(149_900), 750));
        assert_eq!(measured.coded_bytes, Some(Bytes(lengths - header * chunks + header)));
        assert_eq!((measured.tokens, measured.ideal_bits), (None, None));
        let [low, high] = measured.bits_interval(0).expect("many chunks");
        let bits = measured.coded_bytes.expect("coded").as_bits();
        assert!(low < bits && bits < high);

        let whole = CompressorMeasurement { chunking: Chunking::Whole, ..chunked };
        let output = compressor.compress_chunk(&corpus[100..150_000], Medium::Bytes);
        let output = output.expect("compresses");
        let measured = finished(whole.run(None, &mut go));
        assert_eq!(measured.coded_bytes, Some(Bytes(output.len() as u64)));
        assert_eq!(whole.run(None, stop).expect("stops"), MeasureOutcome::Stopped);
    }
}

#[test]
fn chunks_longer_than_the_context_are_cut_and_counted() {
    let (whole, corpus) = (CountModel::exact(256), corpus(1950));
    let short = whole.clone().of_context(60);
    for coding in [false, true] {
        let of = |predictor, chunk| {
            let chunking = Chunking::Bytes(chunk);
            let one = measurement(predictor, &ByteTokenizer, &corpus);
            finished(Measurement { chunking, coding, ..one }.run(None, &mut go))
        };
        let (cut, pieces) = (of(&short, 120), of(&whole, 60));
        assert_eq!((cut.cut_chunks, cut.chunks.len()), (16, 17), "the last has 30 bytes");
        assert_eq!((pieces.cut_chunks, of(&short, 60).cut_chunks), (0, 0));
        assert_eq!((cut.raw_bytes, cut.tokens), (pieces.raw_bytes, pieces.tokens));
        let [one, other] = [&cut, &pieces].map(|it| it.ideal_bits.expect("scored").0);
        assert!((one - other).abs() < 1e-6, "{one} {other}");
    }
}

#[test]
fn a_curve_ends_with_the_chunk_and_survives_the_journal() {
    let (model, corpus) = (CountModel::exact(300), corpus(1950));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let journal = folder.path().join("journal.jsonl");
    for tokenizer in [&ByteTokenizer as &dyn Tokenizer, &PairTokenizer] {
        let one = Measurement { curve: true, ..measurement(&model, tokenizer, &corpus) };
        let plain = measurement(&model, tokenizer, &corpus);
        assert_ne!(one.fingerprint(), plain.fingerprint());
        let _ = std::fs::remove_file(&journal);
        let measured = finished(one.run(Some(&journal), &mut go));
        assert_eq!(measured, finished(one.run(Some(&journal), &mut go)));
        let curve = measured.curve.expect("asked for");
        assert_eq!((curve.ends.last(), curve.chunks.len()), (Some(&100), 20));
        for (curve, chunk) in curve.chunks[..19].iter().zip(&measured.chunks) {
            assert!(curve.windows(2).all(|pair| pair[0] <= pair[1]));
            assert!((curve.last().expect("an end") - chunk.bits).abs() < 1e-6);
        }
        assert!(curve.chunks[19].len() < curve.ends.len(), "the last chunk is shorter");
    }
    let gzip = &crate::compressors::COMPRESSORS[0];
    let prefixes = PrefixMeasurement {
        compressor: gzip,
        corpus: &corpus,
        span: 0..1950,
        medium: Medium::Bytes,
        chunk: 100,
        sample: None,
    };
    let (curve, header) = prefixes.run(&mut go).expect("measures").expect("is not stopped");
    let at = curve.ends.iter().position(|&end| end == 10).expect("ten bytes");
    let expected =
        gzip.compress_chunk(&corpus[100..110], Medium::Bytes).expect("compresses").len() as f64;
    assert_eq!(curve.chunks[1][at], 8.0 * (expected - header.as_f64()));
    assert_eq!(prefixes.run(&mut |_| ControlFlow::Break(())).expect("stops"), None);
    // Of samples of 16 bits, no beginning ends within one.
    let medium = Medium::Audio { bits: 16, rate_hz: 16_000 };
    let sound = PrefixMeasurement { medium, ..prefixes };
    let (curve, _) = sound.run(&mut go).expect("measures").expect("is not stopped");
    assert!(curve.ends.iter().all(|end| end % 2 == 0) && curve.ends.last() == Some(&100));
}

#[test]
fn masked_bytes_lose_a_bit_each_where_a_chunk_is_no_ascii() {
    let model = CountModel::exact(256);
    let ascii = corpus(1000).iter().map(|byte| byte & 0x7f).collect::<Vec<u8>>();
    let mut mixed = ascii.clone();
    mixed[150] |= 0x80;
    mixed[990] |= 0x80;
    let of = |corpus, mask| {
        let one = measurement(&model, &ByteTokenizer, corpus);
        finished(Measurement { mask, ..one }.run(None, &mut go))
    };
    let cleared = Some(Mask::Cleared);
    let (plain, masked) = (of(&ascii, cleared), of(&mixed, cleared));
    assert_eq!(plain.lost_bits, Some(Bits(0.0)));
    assert_eq!(masked.lost_bits, Some(Bits(200.0)), "two chunks of 100 bytes");
    assert_eq!(masked.missed_bits, Some(Bits(2.0)), "two bytes are changed");
    let padded = masked.padded_bytes().as_bits().0 - masked.ideal_bits.expect("scored").0;
    assert!((0.0..8.0 * masked.chunks.len() as f64).contains(&padded), "{padded}");
    assert_eq!(masked.ideal_bits, plain.ideal_bits);
    assert_eq!((of(&mixed, None).lost_bits, of(&ascii, None).ideal_bits), (None, plain.ideal_bits));
    let spaces = measurement(&model, &NoSpaces, b"a b c d\xa0");
    let spaces = finished(Measurement { mask: Some(Mask::Cleared), ..spaces }.run(None, &mut go));
    assert_eq!(spaces.lost_bits, Some(Bits(4.0 * 8.0 + 4.0)), "spaces are lost whole");
    let shifted = of(&mixed, Some(Mask::Shifted));
    let halves: Vec<u8> = mixed.iter().map(|byte| byte >> 1).collect();
    assert_eq!(shifted.ideal_bits, of(&halves, None).ideal_bits);
    assert_eq!((shifted.lost_bits, shifted.missed_bits), (Some(Bits(1000.0)), Some(Bits(1000.0))));
    let one = measurement(&model, &ByteTokenizer, &mixed);
    let prints = [None, Some(Mask::Cleared), Some(Mask::Shifted)]
        .map(|mask| Measurement { mask, ..one.clone() }.fingerprint());
    assert!(prints[0] != prints[1] && prints[1] != prints[2] && prints[0] != prints[2]);
    let tokens = Measurement { mask: Some(Mask::Shifted), chunking: Chunking::Tokens(100), ..one };
    assert!(matches!(tokens.run(None, &mut go), Err(MeasureError::Chunking { .. })));
}

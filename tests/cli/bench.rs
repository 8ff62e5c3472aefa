//! `lmtrain bench`.

use crate::Study;

#[test]
fn speed_is_measured() {
    let study = Study::new();
    let speed = study.json("bench --json --size 50K --context 64 --batch 2 --steps 2");
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    let peak = number(&speed["peak_flops_per_s"]);
    assert!(number(&speed["gemm_flops_per_s"]) > 1e6 && peak >= number(&speed["gemm_flops_per_s"]));
    let size = &speed["sizes"][0];
    for surface in ["train", "score"] {
        let share = number(&size[format!("{surface}_peak_share")]);
        assert!(share > 0.0 && share <= 1.0, "{surface}: {share}");
        assert!(number(&size[format!("{surface}_peak_flops_per_s")]) <= peak);
    }
    for key in
        ["train_tokens_per_s", "score_tokens_per_s", "encode_bytes_per_s", "decode_bytes_per_s"]
    {
        assert!(size[key].as_f64().expect(key) > 0.0, "{key}");
    }
    // A step of decoding does what encoding does for whole chunks together: bytes that were stored came back a
    // thousand times as fast.
    let [encode, decode] =
        ["encode", "decode"].map(|it| number(&size[format!("{it}_bytes_per_s")]));
    assert!(decode < 20.0 * encode, "decodes {decode} and encodes {encode} bytes/s");
    let only = study.json("bench --json --size 50K --context 64 --steps 1 --only score");
    assert!(only["sizes"][0]["train_tokens_per_s"].is_null());
}

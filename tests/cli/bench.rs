//! `lmtrain bench`.

use crate::Study;

#[test]
fn speed_is_measured() {
    let study = Study::new();
    let speed = study.json("bench --json --size 50K --context 64 --batch 2 --steps 2");
    assert!(speed["gemm_flops_per_s"].as_f64().expect("a number") > 1e6);
    let size = &speed["sizes"][0];
    for key in
        ["train_tokens_per_s", "score_tokens_per_s", "encode_bytes_per_s", "decode_bytes_per_s"]
    {
        assert!(size[key].as_f64().expect(key) > 0.0, "{key}");
    }
    let only = study.json("bench --json --size 50K --context 64 --steps 1 --only score");
    assert!(only["sizes"][0]["train_tokens_per_s"].is_null());
}

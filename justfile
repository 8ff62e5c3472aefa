# The checks of CI, each by its name: `just clippy`, `just test`, all of them by `just ci`.
# `.ci/run` installs what they need on a bare machine and runs them all.

target := env("CARGO_TARGET_DIR", justfile_directory() / "target")
host := `rustc -vV | sed -n 's/^host: //p'`
arm := "aarch64-unknown-linux-gnu"

# List the checks.
default:
    @just --list

# Everything that CI runs, in its order.
ci: format clippy docs msrv deny test quickstart without-burn arm sanitize

# Formatting.
format:
    cargo fmt --all --check

# Lints: with every feature, and without burn.
clippy:
    cargo clippy --locked --workspace --all-targets --features cuda,hub,wgpu -- -D warnings
    cargo clippy --locked --all-targets --no-default-features -- -D warnings

# Documentation, private items and every feature included.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --features cuda,hub,wgpu

# The oldest toolchain that is promised builds the program. Where it is the one at hand, `clippy` has shown that.
msrv:
    #!/usr/bin/env bash
    set -euo pipefail
    promised="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"
    case "$(rustc --version)" in
        "rustc $promised."*) ;;
        *) rustup toolchain install "$promised" --profile minimal &&
            cargo "+$promised" check --locked --features cuda,hub,wgpu ;;
    esac

# Licences, sources and duplicate bans of the dependencies.
deny:
    cargo deny --locked check bans licenses sources

# Everything that can be tested without a GPU: the README's test command.
test:
    cargo test --locked --features hub

# The README's first command on a fresh machine: no data, no network. By the binary of the tests, which is linked again
# if other features were tested since; the README says `cargo run --release`, which would build everything once more.
quickstart:
    cargo test --locked --features hub --no-run
    "{{ target }}/debug/lmtrain" quickstart --offline --minutes 0.5 --runs-dir "$(mktemp -d)" --data-dir "$(mktemp -d)"

# Training and scoring on a GPU of any vendor, for which Mesa's llvmpipe may stand in, a Vulkan device on the processor
# (`mesa-vulkan-drivers`). Not in CI: it would take seven minutes, and some gradients are less exact than they should be
# (`docs/gpu.md`).
any-gpu:
    cargo test --locked --workspace --lib --features hub,wgpu any_gpu -- --ignored

# The program without burn: it builds, restores every golden archive, and compresses with the networks that are built in.
without-burn:
    cargo test --locked --no-default-features --test cli -- golden builtin

# The kernels, nearly all of the `unsafe` code, under AddressSanitizer at every SIMD level.
# An unstable flag of the compiler, hence the bootstrap variable, for which build scripts run again: it comes last.
sanitize:
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --locked --lib -p lmtrain-kernels --target {{ host }}

# On an emulated 64-bit ARM, where NEON is the level besides scalar: the kernels' tests, and the whole program
# without burn, which restores every golden archive.
arm:
    #!/usr/bin/env bash
    set -euo pipefail
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu"
    export LMTRAIN_RUNNER="$CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER"
    # What computes is optimised all the same (`Cargo.toml`); the rest would take longer to optimise than to run.
    export CARGO_PROFILE_DEV_OPT_LEVEL=0
    cargo test --locked --lib -p lmtrain-kernels --target {{ arm }}
    cargo test --locked --no-default-features --test cli --target {{ arm }} golden

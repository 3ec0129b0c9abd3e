//! Machines that lack something: a GPU, a network. Every message names what is missing and what works all the same.

use std::path::Path;

use crate::support::{Place, Said};

/// Where there is a GPU, these commands do what they say, and that takes its time.
#[test]
fn without_a_gpu_it_is_said_what_is_missing_and_what_works_all_the_same() {
    if Path::new("/dev/nvidiactl").exists() {
        println!("skipped: there is a GPU");
        return;
    }
    let place = Place::new();
    place.write("kernel.cu", "extern \"C\" __global__ void rmsnorm() {}\n");
    for command in [
        &["search", "rmsnorm_bf16"][..],
        &["evaluate", "rmsnorm_bf16", "kernel.cu"],
        &["rivals", "rmsnorm_bf16"],
    ] {
        let said = place.run(&[command, &["--target", "cuda"]].concat()).expect(4);
        said.complains(&[
            "no GPU",
            "driver",
            "--static-only",
            "kernsmith toolchain install cuda",
            "kernsmith batch export",
        ]);
    }
    assert!(!place.path("experiment-log").exists(), "a search that cannot run has begun a log");
    let checks = place.run(&["doctor", "--format", "json"]).expect(0).json()["checks"].clone();
    let gpu =
        checks.as_array().and_then(|checks| checks.iter().find(|check| check["name"] == "gpu")).cloned();
    let gpu = gpu.expect("a check").to_string();
    assert!(gpu.contains("skipped: no GPU") && gpu.contains("batch export"), "{gpu}");
}

#[test]
fn an_installation_that_cannot_fetch_says_why_and_leaves_nothing_behind() {
    let place = Place::new();
    let mut command = place.command();
    command.env("PIP_NO_INDEX", "1").env("XDG_CACHE_HOME", place.path("cache"));
    let said = Said::of(&command.args(["toolchain", "install", "cuda"]).output().expect("it runs")).expect(4);
    let (offline, no_pip) =
        (said.stderr.contains("KERNSMITH_CUDA_HOME"), said.stderr.contains("Python with pip"));
    assert!(offline || no_pip, "{}", said.stderr);
    let left: Vec<_> =
        std::fs::read_dir(place.path("cache/kernsmith")).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

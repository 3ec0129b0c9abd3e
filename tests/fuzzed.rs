//! The fuzz targets' entries over their seeds and a few thousand mutations: the same ones in every run.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[path = "fuzz/entries.rs"]
mod entries;

/// Mutated inputs of each entry.
const MUTATIONS: u32 = 2_000;

/// One change of a seed; places are taken modulo the seed's length.
#[derive(Debug, Clone)]
enum Edit {
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let words: &[&[u8]] =
        &[b"-1", b"9223372036854775807", b"1e400", b"\"", b"[[", b"{}", b"\n", b"\xff", b"= ", b"\\u0000"];
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(place, bits)| Edit::Flip(place, bits)),
        (any::<usize>(), prop::sample::select(words))
            .prop_map(|(place, word)| Edit::Insert(place, word.to_vec())),
        (any::<usize>(), 1..64_usize).prop_map(|(place, count)| Edit::Remove(place, count)),
        (any::<usize>(), 1..64_usize).prop_map(|(place, count)| Edit::Repeat(place, count)),
    ]
}

fn edited(seed: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for edit in edits {
        let length = bytes.len().max(1);
        match edit {
            Edit::Flip(place, bits) => {
                if let Some(byte) = bytes.get_mut(place % length) {
                    *byte ^= bits;
                }
            }
            Edit::Insert(place, word) => {
                let place = place % length % (bytes.len() + 1);
                bytes.splice(place..place, word.iter().copied());
            }
            Edit::Remove(place, count) => {
                let place = (place % length).min(bytes.len());
                let end = (place + count).min(bytes.len());
                bytes.drain(place..end);
            }
            Edit::Repeat(place, count) => {
                let place = (place % length).min(bytes.len());
                let end = (place + count).min(bytes.len());
                let part = bytes[place..end].to_vec();
                bytes.splice(end..end, part);
            }
        }
    }
    bytes
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("seeds").flatten().map(|file| file.path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).expect("a seed")).collect()
}

fn withstands(target: &str, entry: fn(&[u8])) {
    let seeds = seeds(target);
    assert!(seeds.len() >= 4, "{} seeds of {target}", seeds.len());
    for seed in &seeds {
        entry(seed);
    }
    let config = Config { cases: MUTATIONS, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let inputs =
        (prop::sample::select(seeds), vec(edit(), 1..6)).prop_map(|(seed, edits)| edited(&seed, &edits));
    TestRunner::new_with_rng(config, rng)
        .run(&inputs, |bytes| {
            entry(&bytes);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{target}: {failure}"));
}

#[test]
fn the_contract_reader_withstands_mutated_contracts() {
    withstands("contract", entries::contract);
}

#[test]
fn the_plan_reader_withstands_mutated_plans() {
    withstands("plan", entries::plan);
}

#[test]
fn frames_withstand_mutation() {
    withstands("frames", entries::frames);
}

#[test]
fn the_log_reader_withstands_mutated_histories() {
    withstands("log", entries::log);
}

//! No input makes the reader panic, and what it accepts has a value everywhere.

use proptest::prelude::*;

use super::{read, sample};

/// Every answer must be printable, and an accepted contract must lint and evaluate without panicking.
fn digest_answer(text: &str) {
    match read(text) {
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in &problems {
                assert!(problem.span.offset() + problem.span.len() <= text.len());
                assert!(problem.line >= 1 && !problem.to_string().is_empty());
            }
        }
        Ok(contract) => {
            contract.lint();
            for workload in &contract.workloads {
                contract.flops.eval(&workload.axes).unwrap();
                contract.bytes.eval(&workload.axes).unwrap();
                contract.partition_extent(&workload.axes).unwrap();
                contract.compulsory_bytes(&workload.axes).unwrap();
            }
        }
    }
}

/// Words that are near the format, so that mutations reach beyond the TOML parser.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("9223372036854775807".to_owned()),
        Just("-1".to_owned()),
        Just("1e400".to_owned()),
        Just("nan".to_owned()),
        Just("\"\"".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("n * n * n * n".to_owned()),
        Just("\"n / 0\"".to_owned()),
        Just("const = 0, ".to_owned()),
        Just("\u{20ac}".to_owned()),
        Just("2026-11-21".to_owned()),
        Just("'''".to_owned()),
        Just("\0".to_owned()),
        "[a-z0-9\"=\\[\\]{},. #\n]{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        digest_answer(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn mutated_contracts_never_panic(
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..24, fragment()), 1..6),
    ) {
        // Comments are most of the sample; without them, mutations hit the data.
        let mut text: String =
            sample().split_inclusive('\n').filter(|line| !line.starts_with('#')).collect();
        for (place, removed, inserted) in cuts {
            let characters: Vec<char> = text.chars().collect();
            let start = place.index(characters.len() + 1);
            let end = (start + removed).min(characters.len());
            text = characters[..start].iter().chain(inserted.chars().collect::<Vec<_>>().iter())
                .chain(&characters[end..]).collect();
        }
        digest_answer(&text);
    }

    #[test]
    fn values_of_a_wrong_type_never_panic(line in any::<proptest::sample::Index>(), value in fragment()) {
        let text = sample();
        let assignments: Vec<usize> = text.lines().enumerate()
            .filter(|(_, line)| line.contains(" = ") && !line.starts_with('#')).map(|(index, _)| index).collect();
        let chosen = assignments[line.index(assignments.len())];
        let changed: Vec<String> = text.lines().enumerate().map(|(index, line)| {
            let key = line.split(" = ").next().unwrap_or_default();
            if index == chosen { format!("{key} = {value}") } else { line.to_owned() }
        }).collect();
        digest_answer(&changed.join("\n"));
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    for open in ["[", "{ a = ", "("] {
        digest_answer(&format!("axis = {}", open.repeat(50_000)));
        digest_answer(&format!("flops = \"{}\"", open.repeat(50_000)));
    }
}

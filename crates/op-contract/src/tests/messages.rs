//! What people read when something is wrong.

use super::{read, sample};

/// Replaces one place of the sample and gives the messages.
fn broken(from: &str, to: &str) -> Vec<String> {
    let text = sample();
    assert!(text.contains(from), "the sample has no `{from}`");
    let problems = read(&text.replacen(from, to, 1)).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

fn line_of(needle: &str) -> usize {
    1 + sample().lines().position(|line| line.contains(needle)).unwrap()
}

#[test]
fn a_wrong_dtype_lists_the_legal_ones() {
    let line = line_of("{ name = \"x\", dtype");
    assert_eq!(
        broken("dtype = \"f32\", shape", "dtype = \"fp32\", shape"),
        [format!(
            "contract.toml:{line}: input[0].dtype: `fp32` is not a dtype; did you mean `f32`? legal: f64, f32, f16, bf16, \
             f8e4m3fn, f8e5m2, f4e2m1, e8m0, i64, i32, i16, i8, u8, bool"
        )]
    );
}

#[test]
fn an_unknown_axis_lists_the_known_ones() {
    let line = line_of("flops = ");
    assert_eq!(
        broken("flops = \"3 * n\"", "flops = \"3 * rows\""),
        [format!(
            "contract.toml:{line}: flops: unknown axis `rows` in `3 * rows`; declare it in `axis`; legal: n"
        )]
    );
}

#[test]
fn positions_need_a_limit_and_a_limit_needs_positions() {
    let normal = "{ kind = \"normal\" }";
    let messages = broken(normal, "{ kind = \"permutation\" }");
    assert!(messages[0].contains("input `x` has no `limit`; say how many positions"), "{messages:?}");
    let messages =
        broken("dtype = \"f32\", shape = [\"n\"] }", "dtype = \"i32\", shape = [\"n\"], limit = \"n\" }");
    assert!(messages[0].contains("input `x` holds positions; draw it as"), "{messages:?}");
    let messages =
        broken("dtype = \"f32\", shape = [\"n\"] }", "dtype = \"f32\", shape = [\"n\"], limit = \"n\" }");
    assert!(messages[0].contains("elements of type `f32` are no positions"), "{messages:?}");
}

#[test]
fn an_unknown_platform_lists_the_known_ones() {
    let messages = broken("role = \"held_out\",", "role = \"held_out\", platforms = [\"gpu\"],");
    assert!(messages[0].contains("`gpu` is not a platform") && messages[0].contains("cuda"), "{messages:?}");
}

#[test]
fn a_missing_file_is_named() {
    let line = line_of("source = \"scalar.cpp\"");
    let messages = broken("source = \"scalar.cpp\"", "source = \"fast.cpp\"");
    assert_eq!(messages.len(), 1);
    assert!(
        messages[0].starts_with(&format!("contract.toml:{line}: baseline[0].source: cannot read `fast.cpp`")),
        "{messages:?}"
    );
}

#[test]
fn an_unknown_key_suggests_the_nearest() {
    let line = line_of("tolerance = {");
    assert_eq!(
        broken("\ntolerance =", "\ntoleranse ="),
        [
            "contract.toml:0: tolerance: `tolerance` is missing".replace(":0:", ":1:")
                + "; add `tolerance = { compute = \"f32\", ulps = 16, rms_ulps = 4 }`",
            format!("contract.toml:{line}: toleranse: unknown key `toleranse`; did you mean `tolerance`?"),
        ]
    );
}

#[test]
fn a_syntax_error_in_an_expression_points_at_its_byte() {
    let text = sample().replace("flops = \"3 * n\"", "flops = \"3 * * n\"");
    let problems = read(&text).unwrap_err();
    let at = text.find("\"3 * * n\"").unwrap() + 1 + 4;
    assert_eq!((problems[0].span.offset(), problems[0].span.len()), (at, 1));
    assert_eq!(problems[0].field, "flops");
}

#[test]
fn a_violated_constraint_names_workload_and_constraint() {
    let messages = broken("constraints = [\"n >= 0\"]", "constraints = [\"n >= 1\"]");
    assert_eq!(messages.len(), 1);
    assert!(messages[0].contains("workload `empty` violates `n >= 1`"), "{messages:?}");
}

#[test]
fn a_bad_distribution_is_reported_with_its_case() {
    let messages = broken("{ kind = \"normal\", std = 1e-4 }", "{ kind = \"normal\", sigma = 1e-4 }");
    assert!(messages[0].contains("case[1].inputs.x") && messages[0].contains("sigma"), "{messages:?}");
    let messages = broken("{ kind = \"normal\", std = 1e-4 }", "{ kind = \"normal\", std = -1.0 }");
    assert!(messages[0].contains("case[1].inputs.x") && messages[0].contains("from 0 up"), "{messages:?}");
    let messages = broken("inputs = { x = { kind = \"normal\" } }", "inputs = { z = { kind = \"normal\" } }");
    assert!(messages.iter().any(|message| message.contains("no distribution for input `x`")), "{messages:?}");
}

#[test]
fn workload_mistakes_are_told_apart() {
    let cases = [
        (
            "role = \"held_out\", axes = { n = 3 }",
            "role = \"heldout\", axes = { n = 3 }",
            "did you mean `held_out`?",
        ),
        ("axes = { n = 3 }", "axes = { m = 3 }", "`m` is not an axis"),
        ("axes = { n = 3 }", "axes = { }", "axis `n` has no value"),
        ("axes = { n = 3 }", "axes = { n = -3 }", "-3 is not an extent"),
        ("axes = { n = 3 }", "axes = { n = 3.5 }", "expected an integer"),
        ("weight = 0.5", "weight = 0", "use a weight above 0"),
        ("\"verify\", axes = { n = 1 }", "\"verify\", weight = 2, axes = { n = 1 }", "only bench workloads"),
        ("name = \"held_tiny\"", "name = \"empty\"", "the name `empty` is taken by `workload[2].name`"),
    ];
    for (from, to, expected) in cases {
        let messages = broken(from, to);
        assert!(messages.iter().any(|message| message.contains(expected)), "{expected}: {messages:?}");
    }
}

#[test]
fn code_mistakes_are_told_apart() {
    let cases = [
        ("platform = \"cpu\"", "platform = \"gpu\"", "did you mean `cpu`?"),
        ("role = \"frozen\"\nplan", "role = \"main\"\nplan", "legal: frozen, rival"),
        ("plan = { threads = 1 }", "plan = { threads = 0 }", "baseline[0].plan.threads"),
        ("plan = { threads = 1 }", "plan = { thread = 1 }", "unknown field `thread`"),
        ("plan = { threads = 1 }", "link = [\"../evil\"]", "is not a library name"),
        ("source = \"reference.cpp\"", "source = \"../reference.cpp\"", "use a plain file name"),
        ("partition_axis = \"n\"", "partition_axis = \"m\"", "unknown axis `m`"),
        ("y = \"x / (1.0f + fabsf(x))\"", "z = \"x\"", "`z` is not an output"),
        ("y = \"x / (1.0f + fabsf(x))\"", "y = \"x; abort()\"", "`;` may not occur"),
        ("y = \"x / (1.0f + fabsf(x))\"", "y = \"(x\"", "parentheses do not match"),
        ("y = \"x / (1.0f + fabsf(x))\"", "y = \"x = 1.0f\"", "`=` may not occur"),
        ("name = \"y\", dtype", "name = \"x\", dtype", "the name `x` is taken by `input[0].name`"),
        ("name = \"y\", dtype", "name = \"float\", dtype", "is not a C++ name"),
    ];
    for (from, to, expected) in cases {
        let messages = broken(from, to);
        assert!(messages.iter().any(|message| message.contains(expected)), "{expected}: {messages:?}");
    }
}

#[test]
fn comparisons_are_legal_in_element_expressions() {
    let text = sample().replace("y = \"x / (1.0f + fabsf(x))\"", "y = \"x >= 0.0f && x != 1.0f ? x : 0.0f\"");
    assert!(read(&text).is_ok());
}

#[test]
fn independent_mistakes_come_in_one_go_in_file_order() {
    let text = sample()
        .replace("version = 1 ", "version = 0 ")
        .replace("dtype = \"f32\", shape", "dtype = \"float\", shape")
        .replace("bytes = \"4 * 2 * n\"", "bytes = \"4 * 2 * q\"")
        .replace("ulps = 16,", "ulps = \"16\",")
        .replace("platform = \"cpu\"", "platform = \"tpu\"");
    let problems = read(&text).unwrap_err();
    let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    let expected =
        ["version", "input[0].dtype", "output[0].dtype", "bytes", "tolerance.ulps", "baseline[0].platform"];
    assert_eq!(fields, expected);
    assert!(problems.is_sorted_by_key(|problem| problem.line));
}

#[test]
fn text_that_is_not_toml_says_where() {
    let problems = read("format = 1\nname = \n").unwrap_err();
    assert_eq!(problems[0].line, 2);
    assert!(problems[0].message.starts_with("not TOML"), "{}", problems[0]);
}

#[test]
fn an_empty_file_names_what_is_missing() {
    let messages: Vec<String> = read("").unwrap_err().iter().map(ToString::to_string).collect();
    for key in ["name", "family", "axis", "input", "output", "flops", "bytes", "tolerance", "oracle"] {
        assert!(messages.iter().any(|message| message.contains(key)), "{key}: {messages:?}");
    }
}

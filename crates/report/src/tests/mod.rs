//! A made-up run, written by the real log, and what its report must say.

mod sample;

use kernsmith_experiment_log::RunWriter;

use crate::{Options, ReportPaths, Summary, build, conclude, page};
use sample::{SampleRun, write_run};

/// The source of the champion, which tries to be a page.
const HOSTILE: &str =
    "// </code></pre><script>alert(1)</script> \"quotes\" & ``` fences\nextern \"C\" void kernel() {}\n";

fn run(champion: bool) -> (tempfile::TempDir, RunWriter) {
    let root = tempfile::tempdir().unwrap();
    let writer =
        write_run(root.path(), &SampleRun { champion, source: HOSTILE.to_owned(), ..SampleRun::default() });
    (root, writer)
}

fn write(writer: &RunWriter) -> ReportPaths {
    conclude(writer.directory(), &Options::default(), true).unwrap().1.unwrap()
}

fn summary(writer: &RunWriter) -> Summary {
    let (summary, paths) = conclude(writer.directory(), &Options::default(), false).unwrap();
    assert_eq!(paths, None, "nothing is written where nothing is wanted");
    summary
}

#[test]
fn the_report_says_what_the_log_says() {
    let (_root, writer) = run(true);
    let report = build(writer.directory(), &Options::default()).unwrap();
    for page in [page::html(&report).unwrap(), page::markdown(&report).unwrap()] {
        for fact in [
            "rmsnorm_f32@1 on cpu-x86_64",
            "Champion #0009 runs at 6.00×",
            "5.90–6.10",
            "“scalar”",
            "kernsmith replay 20261121-rmsnorm_f32-a1b2#9",
            "openblas",
            "not measured: libopenblas not found",
            "compile_error",
            "avx512-fma 96",
            "-march=native",
            "namespaces+landlock",
            "vector=avx512 › unroll",
            "90.0 s",
            "correctness",
            "256x4096",
        ] {
            assert!(page.contains(fact), "`{fact}` is missing in\n{page}");
        }
        assert!(!page.contains("No champion was confirmed"));
    }
}

#[test]
fn a_run_without_confirmation_says_so_first() {
    let (_root, writer) = run(false);
    let report = build(writer.directory(), &Options::default()).unwrap();
    assert!(report.verdict.starts_with("No champion was confirmed."), "{}", report.verdict);
    assert!(report.verdict.contains("is not a result"));
    assert_eq!(report.leader.as_ref().unwrap().heading, "Best candidate seen (not confirmed)");
    let paths = write(&writer);
    assert_eq!((paths.champion_source, paths.champion_plan), (None, None));
    assert_eq!(summary(&writer).champion, None);
}

#[test]
fn a_run_that_has_only_begun_has_a_report_too() {
    let root = tempfile::tempdir().unwrap();
    let writer = write_run(root.path(), &SampleRun { only_opened: true, ..SampleRun::default() });
    let report = build(writer.directory(), &Options::default()).unwrap();
    assert!(report.verdict.contains("No candidate was proposed"), "{}", report.verdict);
    assert!(page::html(&report).unwrap().contains("No candidate passed"));
    assert!(page::markdown(&report).unwrap().contains("still running or was cut off"));
    let summary = summary(&writer);
    assert_eq!((summary.baseline, summary.candidates.proposed), (None, 0));
}

#[test]
fn source_text_is_inert_and_nothing_is_loaded_from_outside() {
    let (_root, writer) = run(true);
    let report = build(writer.directory(), &Options::default()).unwrap();
    let html = page::html(&report).unwrap();
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(1)"));
    for outside in ["http:", "https:", "//cdn", "src=", "href=", "url(", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let markdown = page::markdown(&report).unwrap();
    let fence = "````cpp\n// </code></pre><script>";
    assert!(markdown.contains(fence), "{markdown}");
}

#[test]
fn a_title_cannot_break_out_of_its_table_cell() {
    let root = tempfile::tempdir().unwrap();
    let title = "<b>x</b> | y".to_owned();
    let writer = write_run(root.path(), &SampleRun { champion: true, title, ..SampleRun::default() });
    let report = build(writer.directory(), &Options::default()).unwrap();
    let markdown = page::markdown(&report).unwrap();
    assert!(markdown.contains("| · &lt;b&gt;x&lt;/b&gt; \\| y |"));
    assert!(!page::html(&report).unwrap().contains("<b>x"));
}

#[test]
fn the_champion_is_written_down_with_its_plan() {
    let (_root, writer) = run(true);
    let paths = write(&writer);
    assert_eq!(std::fs::read_to_string(paths.champion_source.as_ref().unwrap()).unwrap(), HOSTILE);
    let plan = std::fs::read_to_string(paths.champion_plan.unwrap()).unwrap();
    let plan: kernsmith_core::Plan = toml::from_str(&plan).unwrap();
    assert_eq!(plan.threads, Some(2));
    let summary = summary(&writer);
    let champion = summary.champion.unwrap();
    assert_eq!(Some(&champion.source_path), paths.champion_source.as_ref());
    assert_eq!((champion.seq, champion.ratio, champion.ci_low, champion.ci_high), (9, 6.0, 5.9, 6.1));
    assert_eq!(champion.sol_score, Some(0.9));
    assert_eq!(champion.replay, "kernsmith replay 20261121-rmsnorm_f32-a1b2#9");
}

#[test]
fn the_summary_has_the_documented_shape() {
    let (_root, writer) = run(true);
    let summary = serde_json::to_value(summary(&writer)).unwrap();
    assert_eq!(summary["schema_version"], 1);
    assert_eq!(summary["run_id"], "20261121-rmsnorm_f32-a1b2");
    assert_eq!(summary["baseline"]["name"], "scalar");
    assert_eq!(summary["candidates"]["proposed"], 3);
    assert_eq!(summary["candidates"]["deduplicated"], 1);
    assert_eq!(summary["candidates"]["accepted"], 1);
    assert_eq!(summary["candidates"]["rejected"]["compile_error"], 1);
    assert_eq!(summary["wall_seconds"], 42.5);
    assert!(summary["report"].as_str().unwrap().ends_with("report.html"));
}

/// Not a test: writes a longer run and its report to the folder of the variable, to be looked at.
#[test]
#[ignore = "writes a report for the eye: set KERNSMITH_SAMPLE_REPORT to a folder"]
fn a_longer_sample_to_look_at() {
    let Ok(root) = std::env::var("KERNSMITH_SAMPLE_REPORT") else { return };
    let writer = sample::write_long_run(std::path::Path::new(&root));
    let paths = write(&writer);
    assert!(paths.html.is_file());
}

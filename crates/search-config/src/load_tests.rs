use std::fs;

use miette::Diagnostic;
use proptest::prelude::*;

use super::*;
use crate::value::{ByteCount, Seed};

fn refused(request: &Request) -> (Refusal, String) {
    match load(request).unwrap_err() {
        ConfigError::Refused(refusal) => {
            let help = refusal.help().unwrap().to_string();
            (*refusal, help)
        }
        other => panic!("{other}"),
    }
}

fn flag(key: &str, value: &str) -> Request {
    Request { overrides: vec![(key.to_owned(), value.to_owned())], ..Request::default() }
}

fn file(text: &str) -> (tempfile::TempDir, Request) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    fs::write(&path, text).unwrap();
    let config = Some(path.display().to_string());
    (folder, Request { config, ..Request::default() })
}

#[test]
fn the_defaults_hold_every_key_and_every_named_configuration_is_legal() {
    let loaded = load(&Request::default()).unwrap();
    assert!((loaded.config.budget.wall_seconds - 90.0).abs() < 1e-9);
    assert_eq!(loaded.config.build.memory_bytes, ByteCount(4 << 30));
    assert_eq!(loaded.config.search.seed, Seed::Random);
    assert!(loaded.rows().iter().all(|row| row.origin == Origin::Default));
    for name in ["default", "quick", "overnight", "seeded"] {
        let request = Request { config: Some(name.to_owned()), ..Request::default() };
        assert!(load(&request).is_ok(), "{name}");
    }
}

#[test]
fn later_layers_win_and_the_origin_is_known() {
    let home = tempfile::tempdir().unwrap();
    let mine = home.path().join("kernsmith");
    fs::create_dir(&mine).unwrap();
    fs::write(
        mine.join("config.toml"),
        "[budget]\nwall_seconds = 1\ncandidates = 1\nevaluations = 1\ngoal_ratio = 1\n",
    )
    .unwrap();
    let (_folder, from_file) = file("[budget]\nwall_seconds = 2\ncandidates = 2\nevaluations = 2\n");
    let environment = [
        ("XDG_CONFIG_HOME".to_owned(), home.path().display().to_string()),
        ("KERNSMITH_BUDGET_WALL_SECONDS".to_owned(), "3".to_owned()),
        ("KERNSMITH_BUDGET_CANDIDATES".to_owned(), "3".to_owned()),
        ("KERNSMITH_CXX".to_owned(), "g++".to_owned()),
    ];
    let flags = vec![Request::split_flag("budget.wall_seconds=4")];
    let loaded = load(&Request::new(from_file.config, environment, flags)).unwrap();
    let budget = &loaded.config.budget;
    assert!((budget.wall_seconds - 4.0).abs() < 1e-9 && (budget.goal_ratio - 1.0).abs() < 1e-9);
    assert_eq!((budget.candidates, budget.evaluations), (3, 2));
    let origins: Vec<Origin> = loaded.rows().into_iter().take(4).map(|row| row.origin).collect();
    assert_eq!(origins[0], Origin::Flag("budget.wall_seconds".into()));
    assert_eq!(origins[1], Origin::Environment("KERNSMITH_BUDGET_CANDIDATES".into()));
    assert!(matches!(&origins[2], Origin::File(path) if path.ends_with("mine.toml")));
    assert!(matches!(&origins[3], Origin::File(path) if path.ends_with("kernsmith/config.toml")));
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_nearest_legal_one() {
    let (_folder, request) = file("# mine\n[budget]\nwall_second = 5\n");
    let (refusal, help) = refused(&request);
    assert!(refusal.place.ends_with("mine.toml, line 3"), "{}", refusal.place);
    assert_eq!(refusal.key, "budget.wall_second");
    assert!(refusal.problem.contains("unknown field `wall_second`"), "{}", refusal.problem);
    assert!(help.contains("budget.wall_seconds"), "{help}");
    assert_eq!(refusal.span.offset(), 16);
}

#[test]
fn an_unknown_section_is_shown_with_the_nearest_one() {
    let (_folder, request) = file("[bugdet]\nwall_seconds = 5\n");
    let (refusal, help) = refused(&request);
    assert!(refusal.place.ends_with("line 1"), "{}", refusal.place);
    assert!(help.contains("`budget`"), "{help}");
}

#[test]
fn a_value_out_of_range_or_of_the_wrong_type_is_shown_with_what_is_legal() {
    let (_folder, request) = file("[search]\nwidth = 257\n");
    let (refusal, help) = refused(&request);
    assert_eq!(refusal.key, "search.width");
    assert!(refusal.place.ends_with("line 2") && refusal.problem.contains("is 257"), "{refusal}");
    assert!(help.contains("a whole number from 0 to 256"), "{help}");
    let (_folder, request) = file("[harness]\n\ncold_cache = \"maybe\"\n");
    let (refusal, help) = refused(&request);
    assert!(refusal.place.ends_with("line 3"), "{}", refusal.place);
    assert!(help.contains("true or false"), "{help}");
    let (_folder, request) = file("[harness]\nminimum_sandbox = \"some\"\n");
    assert!(refused(&request).1.contains("\"namespaces\""));
    let (_folder, request) = file("[build]\nmemory_bytes = \"4GB\"\n");
    assert!(refused(&request).1.contains("from 64Mi to 1024Gi"));
}

#[test]
fn variables_and_flags_are_held_to_the_same_rules() {
    let (refusal, help) = refused(&flag("budget.wall_second", "5"));
    assert!(
        refusal.place.contains("flag budget.wall_second") && help.contains("budget.wall_seconds"),
        "{refusal}"
    );
    let (refusal, _) = refused(&flag("wall_seconds", "5"));
    assert!(refusal.problem.contains("is not a key"));
    let environment = vec![("KERNSMITH_SEARCH_WIDTH".to_owned(), "many".to_owned())];
    let (refusal, help) = refused(&Request { environment, ..Request::default() });
    assert!(
        refusal.place.contains("KERNSMITH_SEARCH_WIDTH") && help.contains("0 to 256"),
        "{refusal} {help}"
    );
    assert!(refused(&flag("budget.wall_seconds", "nan")).1.contains("a number from 0"));
}

#[test]
fn shells_need_no_quotes() {
    let loaded = |key: &str, value: &str| load(&flag(key, value)).unwrap().config;
    assert_eq!(loaded("log.dir", "/tmp/my runs").log.dir, "/tmp/my runs");
    assert_eq!(loaded("paths.contracts", "a:b").paths.contracts, ["a", "b"]);
    assert_eq!(loaded("paths.contracts", "[\"a:b\"]").paths.contracts, ["a:b"]);
    assert_eq!(loaded("search.seed", "7").search.seed, Seed::Fixed(7));
    assert_eq!(loaded("build.memory_bytes", "1Gi").build.memory_bytes, ByteCount(1 << 30));
    assert!(!loaded("harness.cold_cache", "false").harness.cold_cache);
    assert!((loaded("search.promote_margin", ".5").search.promote_margin - 0.5).abs() < 1e-12);
}

#[test]
fn missing_files_and_names_say_what_there_is() {
    let request = |name: &str| Request { config: Some(name.to_owned()), ..Request::default() };
    let error = load(&request("nightly")).unwrap_err();
    assert!(error.help().unwrap().to_string().contains("`overnight`"));
    assert!(matches!(load(&request("./none.toml")), Err(ConfigError::Read { .. })));
    let user_file = Some(PathBuf::from("/nonexistent/config.toml"));
    assert!(load(&Request { user_file, ..Request::default() }).is_ok());
}

#[test]
fn a_recorded_configuration_comes_back_and_lacking_keys_have_their_defaults() {
    let config = load(&flag("search.seed", "12")).unwrap().config;
    let mut recorded = config.effective();
    assert_eq!(SearchConfig::from_effective(&recorded).unwrap(), config);
    assert_eq!(SearchConfig::from_effective(&recorded).unwrap().digest(), config.digest());
    recorded["search"].as_object_mut().unwrap().remove("tree_bytes");
    assert_eq!(SearchConfig::from_effective(&recorded).unwrap(), config);
    assert_ne!(config.digest(), SearchConfig::defaults().unwrap().digest());
}

proptest! {
    #[test]
    fn no_text_whatever_makes_the_reader_panic(text in "(\\[[a-z]{0,8}\\]|[a-z_]{1,14} ?= ?[0-9\"\\[\\]a-z.é]{0,6}|\n|#é){0,12}") {
        let _ = parse(&Origin::Default, &text);
    }

    #[test]
    fn no_flag_whatever_makes_the_reader_panic(key in ".{0,20}", value in ".{0,20}") {
        let _ = load(&flag(&key, &value));
        let _ = load(&flag("log.dir", &value));
        let _ = load(&flag("paths.skills", &value));
    }
}

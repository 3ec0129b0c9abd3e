//! The pages that speak of the harness say what the code says.

use std::fmt::Write as _;
use std::path::PathBuf;

use kernsmith_core::FailureClass;

const BEGIN: &str = "`KERNSMITH_BLESS=1 cargo test -p kernsmith-harness --lib catalogue` -->\n";
const END: &str = "<!-- end of catalogue -->";

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

#[test]
fn the_catalogue_lists_every_failure_class_with_its_meaning() {
    let path = page("verification-contract.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut table = "| class | meaning |\n|---|---|\n".to_owned();
    for class in FailureClass::ALL {
        writeln!(table, "| `{class}` | {} |", class.meaning().trim()).unwrap();
    }
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    if std::env::var("KERNSMITH_BLESS").is_ok() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(listed, table, "run the command that stands above the table");
}

#[test]
fn the_schema_page_names_every_gate() {
    let text = std::fs::read_to_string(page("verification-contract.md")).unwrap();
    for gate in kernsmith_core::Gate::ALL {
        assert!(text.contains(&format!("`{gate}`")), "{gate}");
    }
}

#[test]
fn the_schema_page_names_every_field() {
    let text = std::fs::read_to_string(page("evidence-schema.md")).unwrap();
    let source = include_str!("../../core/src/evidence.rs");
    let fields = source.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("    pub ")?.split_once(':')?;
        (!name.contains(' ')).then_some(name)
    });
    let missing: Vec<&str> = fields.filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

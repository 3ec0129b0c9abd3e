//! Writes the source that a genome renders to: `render <skills folder> <skill>/<template> [gene=value…]`.
//!
//! Genes that are not named take their defaults for this example's machine: every feature, two cores, and the target of
//! `KERNSMITH_RENDER_TARGET` where that is set.

use std::io::Write;

use kernsmith_core::GeneValue;
use kernsmith_skill::{Machine, RenderContext, Skills};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, id, genes @ ..] = arguments.as_slice() else {
        return Err("usage: render <skills folder> <skill>/<template> [gene=value…]".into());
    };
    let mut machine = Machine { cores: 2, ..Machine::reference() };
    if let Ok(target) = std::env::var("KERNSMITH_RENDER_TARGET") {
        machine.target = target.parse()?;
    }
    let skills = Skills::open([root])?;
    let template = skills.template(id, &machine).ok_or("there is no such template")?;
    let mut genome = template.default_genome();
    for gene in genes {
        let (name, value) = gene.split_once('=').ok_or("write genes as name=value")?;
        let value = value.parse().map_or_else(|_| GeneValue::Text(value.to_owned()), GeneValue::Int);
        genome.insert(name.to_owned(), value);
    }
    let context = match std::env::var("KERNSMITH_RENDER_CONTEXT") {
        Ok(text) => toml::from_str(&text)?,
        Err(_) => RenderContext::named("example"),
    };
    let rendered = template.render(&genome, &context)?;
    std::io::stdout().write_all(rendered.source.as_bytes())?;
    Ok(())
}

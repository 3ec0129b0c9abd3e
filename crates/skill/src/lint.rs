//! Renders genomes of every template, so that a broken template is found before a search.

use kernsmith_core::Genome;

use crate::context::RenderContext;
use crate::machine::Machine;
use crate::skills::Skills;
use crate::template::Template;

/// What lint found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LintReport {
    /// Templates looked at.
    pub templates: usize,
    /// Sources rendered.
    pub rendered: usize,
    /// What is wrong, one line each, beginning with `<skill>/<template>`.
    pub problems: Vec<String>,
}

impl Skills {
    /// Renders the default genome of every template, and every genome one gene away from it, for a machine that has
    /// every feature.
    pub fn lint(&self) -> LintReport {
        let machine = Machine::reference();
        let mut report = LintReport::default();
        for (skill, entry) in self.entries() {
            report.templates += 1;
            let Some(template) = Template::new(&skill.name, entry, &machine, self.engine()) else {
                let id = format!("{}/{}", skill.name, entry.name.as_ref());
                report.problems.push(format!("{id}: a gene has no value on the reference machine"));
                continue;
            };
            let context = match entry.contracts.first() {
                Some(contract) => RenderContext::named(contract),
                None => RenderContext::elementwise_example(),
            };
            lint_template(&template, &context, &mut report);
        }
        report
    }
}

fn lint_template(template: &Template, context: &RenderContext, report: &mut LintReport) {
    let default = template.default_genome();
    if let Err(error) = template.check(&default) {
        report.problems.push(format!("{}: the default genome is not legal: {error}", template.id()));
        return;
    }
    for genome in neighbours(template, &default) {
        match template.render(&genome, context) {
            Err(error) => report.problems.push(format!("{}: {error}", template.id())),
            Ok(rendered) => {
                report.rendered += 1;
                for symbol in rendered.plan.symbols() {
                    if !rendered.source.contains(&format!("{symbol}(")) {
                        let problem = format!("{}: the source has no `{symbol}`", template.id());
                        report.problems.push(problem);
                    }
                }
            }
        }
    }
}

/// The genome itself and all legal ones that differ in one gene.
fn neighbours(template: &Template, genome: &Genome) -> Vec<Genome> {
    let mut genomes = vec![genome.clone()];
    for gene in &template.genes {
        for value in gene.values.iter().filter(|value| genome.get(&gene.name) != Some(value)) {
            let mut changed = genome.clone();
            changed.insert(gene.name.clone(), value.clone());
            if template.is_legal(&changed) {
                genomes.push(changed);
            }
        }
    }
    genomes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_skills_of_the_repository_render() {
        let skills = Skills::open([Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills")]).unwrap();
        let report = skills.lint();
        assert!(report.problems.is_empty(), "{:#?}", report.problems);
        assert!(report.rendered > 100, "{report:?}");
    }

    #[test]
    fn every_contract_has_two_families_and_any_elementwise_one_is_served() {
        let skills = Skills::open([Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills")]).unwrap();
        let machine = Machine::reference();
        for contract in ["rmsnorm", "softmax", "layernorm", "transpose", "gemm", "cumsum"] {
            let context = RenderContext::named(&format!("{contract}_f32"));
            assert!(skills.templates_for(&context, &machine).len() >= 2, "{contract}");
        }
        let context = RenderContext::elementwise_example();
        let ids: Vec<String> = skills.templates_for(&context, &machine).iter().map(Template::id).collect();
        assert_eq!(ids, ["cpu-elementwise/loop"]);
        let silu = RenderContext { contract: "silu_mul_f32".to_owned(), ..context };
        assert_eq!(skills.templates_for(&silu, &machine)[0].id(), "cpu-elementwise/silu_mul");
    }

    #[test]
    fn gpu_templates_cover_every_shape_with_legal_plans() {
        let skills = Skills::open([Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills")]).unwrap();
        let target = "cuda-sm_90a".parse().unwrap();
        let machine = Machine { target, ..Machine::reference() };
        let rows: &[&str] = &["rows", "cols"];
        for (contract, axes) in [
            ("rmsnorm_bf16", rows),
            ("softmax_bf16", rows),
            ("silu_mul_bf16", rows),
            ("merge_state_bf16", &["n"]),
            ("rmsnorm_f32", rows),
            ("softmax_f32", rows),
            ("silu_mul_f32", rows),
        ] {
            let context = RenderContext::named(contract);
            let templates = skills.templates_for(&context, &machine);
            assert!(templates.len() >= 2, "{contract}");
            for template in templates {
                assert_eq!(template.language, kernsmith_core::Language::Cuda, "{}", template.id());
                for genome in neighbours(&template, &template.default_genome()) {
                    let plan = template.render(&genome, &context).unwrap().plan;
                    plan.check(axes).unwrap_or_else(|error| panic!("{} {genome:?}: {error}", template.id()));
                    let last = plan.launches.last().unwrap();
                    assert!(last.when.is_none() && !last.kernels.is_empty(), "{}", template.id());
                }
            }
        }
    }
}

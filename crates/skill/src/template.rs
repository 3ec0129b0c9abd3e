//! A template cut to a machine: what can be chosen, what is legal, and the source that comes out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kernsmith_core::{Bindings, Expr, GeneValue, Genome, Language, Plan, Prediction};

use crate::context::RenderContext;
use crate::error::SkillError;
use crate::gene::Gene;
use crate::machine::Machine;
use crate::manifest::{GeneEntry, TemplateEntry, flag_name, machine_value};
use crate::plan::PlanEntry;

/// One way to write a kernel, with its degrees of freedom.
#[derive(Clone)]
pub struct Template {
    /// The skill that it belongs to.
    pub skill: String,
    /// Its name, unique in the skill.
    pub name: String,
    /// A few words for the search tree.
    pub title: String,
    /// One sentence of why it should be fast.
    pub rationale: String,
    /// 1 (sure to compile) to 5 (delicate).
    pub difficulty: u8,
    /// The expected ratio to the straightforward baseline.
    pub predicted: Prediction,
    /// The language of its sources.
    pub language: Language,
    /// The genes, each with at least one value.
    pub genes: Vec<Gene>,
    /// Conditions over the genes and the machine.
    pub constraints: Vec<Expr>,
    /// Instruction families by value of the gene `vector`; the key `*` holds for every genome.
    pub expected_instructions: BTreeMap<String, Vec<String>>,
    /// Extra compiler flags; each may be a Tera template over the genes.
    pub flags: Vec<String>,
    plan: PlanEntry,
    file: String,
    facts: Bindings,
    categorical: Vec<(String, String)>,
    engine: Arc<tera::Tera>,
}

/// A rendered candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The whole source; it includes nothing but standard headers.
    pub source: String,
    /// How it is called.
    pub plan: Plan,
}

impl Template {
    /// Cuts an entry of `skill.toml` to a machine; `None` when a gene has no value left or nothing is legal by default.
    pub(crate) fn new(
        skill: &str,
        entry: &TemplateEntry,
        machine: &Machine,
        engine: &Arc<tera::Tera>,
    ) -> Option<Self> {
        let facts = machine.facts();
        let genes: Option<Vec<Gene>> =
            entry.genes.iter().map(|gene| cut_gene(gene, machine, &facts)).collect();
        let constraints = entry.constraints.iter().map(|text| Expr::parse(text.as_ref()).ok()).collect();
        Some(Self {
            skill: skill.to_owned(),
            name: entry.name.as_ref().clone(),
            title: entry.title.clone(),
            rationale: entry.rationale.clone(),
            difficulty: *entry.difficulty.as_ref(),
            predicted: (*entry.predicted.as_ref()).into(),
            language: language(entry.file.as_ref()),
            genes: genes?,
            constraints: Option::<Vec<Expr>>::from_iter::<Vec<Option<Expr>>>(constraints)?,
            expected_instructions: entry.expected_instructions.clone(),
            flags: entry.flags.clone(),
            plan: PlanEntry::of(entry),
            file: format!("{skill}/{}", entry.file.as_ref()),
            facts,
            categorical: categorical(entry),
            engine: Arc::clone(engine),
        })
    }

    /// `<skill>/<template>`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.skill, self.name)
    }

    /// The gene of that name.
    pub fn gene(&self, name: &str) -> Option<&Gene> {
        self.genes.iter().find(|gene| gene.name == name)
    }

    /// The first guess: every gene at its default, or, where a constraint forbids that here, the first legal genome.
    pub fn default_genome(&self) -> Genome {
        let wanted: Genome =
            self.genes.iter().map(|gene| (gene.name.clone(), gene.default.clone())).collect();
        if self.is_legal(&wanted) {
            return wanted;
        }
        let mut genome = wanted.clone();
        if self.repair(&mut genome, 0, &mut 100_000) { genome } else { wanted }
    }

    /// Searches values for the genes from `index` on, at most `tries` genomes.
    fn repair(&self, genome: &mut Genome, index: usize, tries: &mut u32) -> bool {
        let Some(gene) = self.genes.get(index) else {
            *tries = tries.saturating_sub(1);
            return self.is_legal(genome);
        };
        // The default first, then what is just below it.
        let below = gene.values.iter().rev().filter(|value| **value <= gene.default);
        std::iter::once(&gene.default).chain(below).chain(&gene.values).any(|value| {
            genome.insert(gene.name.clone(), value.clone());
            *tries > 0 && self.repair(genome, index + 1, tries)
        })
    }

    /// Whether the genome gives every gene one of its values, nothing else, and every constraint holds.
    pub fn is_legal(&self, genome: &Genome) -> bool {
        self.check(genome).is_ok()
    }

    /// Why a genome is not legal.
    pub fn check(&self, genome: &Genome) -> Result<(), SkillError> {
        let wrong = |problem: String| SkillError::Genome { template: self.id(), problem };
        if let Some(unknown) = genome.keys().find(|name| self.gene(name).is_none()) {
            return Err(wrong(format!("there is no gene `{unknown}`")));
        }
        for gene in &self.genes {
            match genome.get(&gene.name) {
                None => return Err(wrong(format!("gene `{}` has no value", gene.name))),
                Some(value) if !gene.values.contains(value) => {
                    return Err(wrong(format!("gene `{}` cannot be `{value}` on this machine", gene.name)));
                }
                Some(_) => {}
            }
        }
        let bindings = self.bindings(genome);
        for constraint in &self.constraints {
            let holds = constraint.holds(&bindings).map_err(|error| wrong(error.to_string()))?;
            if !holds {
                return Err(wrong(format!("constraint `{constraint}` does not hold")));
            }
        }
        Ok(())
    }

    /// The source and the plan of one legal genome; the same arguments always give the same bytes.
    pub fn render(&self, genome: &Genome, context: &RenderContext) -> Result<Rendered, SkillError> {
        self.check(genome)?;
        let mut values = tera::Context::from_serialize(context).map_err(|error| self.failure(&error))?;
        values.insert("lanes", &context.lanes());
        for (name, value) in genome {
            values.insert(name.clone(), value);
        }
        let body = self.engine.render(&self.file, &values).map_err(|error| self.failure(&error))?;
        let source = format!("{}{}", self.header(genome, context), tidy(&body));
        Ok(Rendered { source, plan: self.launch_plan(genome, &values)? })
    }

    fn header(&self, genome: &Genome, context: &RenderContext) -> String {
        let genes: Vec<String> = genome.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("// {} for {}: {}\n// genome: {}\n", self.id(), context.contract, self.title, genes.join(" "))
    }

    fn launch_plan(&self, genome: &Genome, values: &tera::Context) -> Result<Plan, SkillError> {
        // On a GPU a gene of that name is about blocks, which the launches speak of.
        let threads = match genome.get("threads") {
            Some(GeneValue::Int(threads)) if self.language == Language::Cpp => u32::try_from(*threads).ok(),
            _ => None,
        };
        let vector = genome.get("vector").map(ToString::to_string);
        let keys = [Some("*".to_owned()), vector];
        let expected = keys.iter().flatten().filter_map(|key| self.expected_instructions.get(key));
        let render =
            |text: &str| tera::Tera::one_off(text, values, false).map_err(|error| self.failure(&error));
        let plan = Plan {
            threads,
            flags: self.flags.iter().map(|flag| render(flag)).collect::<Result<_, _>>()?,
            expected_instructions: expected.flatten().cloned().collect(),
            ..Plan::default()
        };
        let wrong = |problem| SkillError::Render { template: self.id(), problem };
        self.plan.complete(plan, &render, &wrong)
    }

    fn failure(&self, error: &tera::Error) -> SkillError {
        SkillError::Render { template: self.id(), problem: error.to_string() }
    }

    fn bindings(&self, genome: &Genome) -> Bindings {
        let mut bindings = self.facts.clone();
        bindings.extend(self.categorical.iter().map(|(gene, word)| {
            let chosen = genome.get(gene) == Some(&GeneValue::Text(word.clone()));
            (flag_name(gene, word), i64::from(chosen))
        }));
        bindings.extend(genome.iter().filter_map(|(name, value)| match value {
            GeneValue::Int(value) => Some((name.clone(), *value)),
            GeneValue::Text(_) => None,
        }));
        bindings
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("id", &self.id()).field("genes", &self.genes).finish_non_exhaustive()
    }
}

/// By the ending in front of `.tera`; whatever is no GPU's is C++.
fn language(file: &str) -> Language {
    match file.trim_end_matches(".tera").rsplit('.').next() {
        Some("cu") => Language::Cuda,
        Some("hip") => Language::Hip,
        _ => Language::Cpp,
    }
}

/// All words of all categorical genes of the file, so that a constraint may name one that this machine lacks.
fn categorical(entry: &TemplateEntry) -> Vec<(String, String)> {
    let words = |gene: &GeneEntry| {
        let name = gene.name.as_ref().clone();
        let texts = gene.values.as_ref().iter().filter_map(|value| match value {
            GeneValue::Text(word) => Some(word.clone()),
            GeneValue::Int(_) => None,
        });
        texts.map(|word| (name.clone(), word)).collect::<Vec<_>>()
    };
    entry.genes.iter().flat_map(words).collect()
}

fn cut_gene(entry: &GeneEntry, machine: &Machine, facts: &Bindings) -> Option<Gene> {
    let limit = match &entry.at_most {
        Some(text) => machine_value(text.as_ref(), facts)?,
        None => i64::MAX,
    };
    let fits = |value: &GeneValue| {
        let small = !matches!(value, GeneValue::Int(number) if *number > limit);
        small && entry.requires.get(&value.to_string()).is_none_or(|features| machine.has_all(features))
    };
    let mut values: Vec<GeneValue> =
        entry.values.as_ref().iter().filter(|value| fits(value)).cloned().collect();
    // A machine with 6 cores should be able to use all 6, although the list says 1, 2, 4, 8.
    let full = limit < i64::MAX && !values.contains(&GeneValue::Int(limit));
    if full && entry.values.as_ref().last() > Some(&GeneValue::Int(limit)) && !values.is_empty() {
        values.push(GeneValue::Int(limit));
    }
    let default = default_of(entry, &values, facts)?;
    Some(Gene {
        name: entry.name.as_ref().clone(),
        values,
        default,
        decision: entry.decision,
        summary: entry.summary.clone(),
    })
}

/// The wanted default where the machine has it, else the nearest smaller number, else the first value.
fn default_of(entry: &GeneEntry, values: &[GeneValue], facts: &Bindings) -> Option<GeneValue> {
    let first = values.first()?;
    let Some(wanted) = entry.default.as_ref().map(toml::Spanned::as_ref) else { return Some(first.clone()) };
    let wanted = match (wanted, first) {
        (GeneValue::Text(text), GeneValue::Int(_)) => GeneValue::Int(machine_value(text, facts)?),
        (wanted, _) => wanted.clone(),
    };
    if values.contains(&wanted) || matches!(wanted, GeneValue::Text(_)) {
        return Some(if values.contains(&wanted) { wanted } else { first.clone() });
    }
    Some(values.iter().rev().find(|value| **value <= wanted).unwrap_or(first).clone())
}

/// Drops trailing blanks and runs of blank lines that template tags leave behind.
fn tidy(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut blank = false;
    for line in source.lines().map(str::trim_end) {
        if !(line.is_empty() && blank) {
            out.push_str(line);
            out.push('\n');
        }
        blank = line.is_empty();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::skills::Skills;

    fn skills(toml: &str, template: &str) -> Skills {
        let root = std::env::temp_dir().join(format!("kernsmith-skill-{}-{:p}", std::process::id(), toml));
        let folder = root.join("demo");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("SKILL.md"), "---\nname: demo\ndescription: d\n---\n").unwrap();
        std::fs::write(folder.join("skill.toml"), format!("format = 1\nname = \"demo\"\n{toml}")).unwrap();
        std::fs::write(folder.join("a.cpp.tera"), template).unwrap();
        let opened = Skills::open([&root]);
        std::fs::remove_dir_all(&root).unwrap();
        opened.unwrap()
    }

    const HEAD: &str = r#"
[[template]]
name = "a"
contracts = ["x_f32"]
targets = ["cpu-x86_64"]
file = "a.cpp.tera"
title = "t"
rationale = "r"
difficulty = 1
predicted = { ratio = 2.0, low = 1.0, high = 3.0 }
"#;

    fn machine(cores: u32, features: &[&str]) -> Machine {
        let features = features.iter().map(|&feature| feature.to_owned()).collect();
        Machine { features, cores, ..Machine::reference() }
    }

    const GENES: &str = r#"
constraints = ["unroll * (8 + 8 * vector_avx512) <= 32"]
expected_instructions = { avx512 = ["avx512-fma"], "*" = ["fma"] }
flags = ["-O{{ unroll }}"]
[[template.workspace]]
name = "scratch"
bytes = "rows * {{ unroll }}"
[[template.gene]]
name = "vector"
values = ["avx512", "avx2"]
requires = { avx512 = "avx512f", avx2 = "avx2+fma" }
[[template.gene]]
name = "threads"
values = [1, 2, 4, 8]
at_most = "cores"
default = "cores"
[[template.gene]]
name = "unroll"
values = [1, 2, 4]
default = 4
"#;

    #[test]
    fn genes_are_cut_to_the_machine() {
        let skills = skills(&format!("{HEAD}{GENES}"), "");
        let context = RenderContext::named("x_f32");
        let narrow = &skills.templates_for(&context, &machine(6, &["avx2", "fma"]))[0];
        assert_eq!(narrow.gene("vector").unwrap().values, [GeneValue::Text("avx2".into())]);
        let threads: Vec<GeneValue> = [1, 2, 4, 6].map(GeneValue::Int).into();
        assert_eq!(narrow.gene("threads").unwrap().values, threads);
        assert_eq!(narrow.default_genome()["threads"], GeneValue::Int(6));
        assert!(skills.templates_for(&context, &machine(2, &["sse2"])).is_empty());
        assert!(
            skills.templates_for(&RenderContext::named("y_f32"), &machine(2, &["avx2", "fma"])).is_empty()
        );
    }

    #[test]
    fn a_default_that_a_constraint_forbids_is_replaced() {
        let skills = skills(&format!("{HEAD}{GENES}"), " ");
        let wide = &skills.templates_for(&RenderContext::named("x_f32"), &Machine::reference())[0];
        let genome = wide.default_genome();
        assert!(wide.is_legal(&genome), "{genome:?}");
        assert_eq!(genome["unroll"], GeneValue::Int(2));
        let mut other = genome.clone();
        other.insert("unroll".into(), GeneValue::Int(4));
        assert!(wide.check(&other).unwrap_err().to_string().contains("constraint"));
        other.insert("unroll".into(), GeneValue::Int(3));
        assert!(wide.check(&other).unwrap_err().to_string().contains("cannot be `3`"));
        other.remove("unroll");
        assert!(!wide.is_legal(&other));
        other.insert("color".into(), GeneValue::Int(3));
        assert!(wide.check(&other).unwrap_err().to_string().contains("no gene `color`"));
    }

    #[test]
    fn a_rendering_carries_genome_and_plan_and_repeats_itself() {
        let skills = skills(&format!("{HEAD}{GENES}"), "  {# c #}\n\n\nint u = {{ unroll }};  \n");
        let context = RenderContext::named("x_f32");
        let template = &skills.templates_for(&context, &machine(2, &["avx512f"]))[0];
        let genome = template.default_genome();
        let first = template.render(&genome, &context).unwrap();
        assert_eq!(first, template.render(&genome, &context).unwrap());
        assert!(
            first.source.starts_with("// demo/a for x_f32: t\n// genome: threads=2 unroll="),
            "{}",
            first.source
        );
        assert!(first.source.ends_with("\nint u = 2;\n"), "{}", first.source);
        assert_eq!(first.plan.threads, Some(2));
        assert_eq!(first.plan.flags, ["-O2"]);
        assert_eq!(first.plan.expected_instructions, ["fma", "avx512-fma"]);
        assert_eq!(first.plan.workspaces[0].bytes.text(), "rows * 2");
        first.plan.check(&["rows"]).unwrap();
    }

    const GPU: &str = r#"
[[template.launch]]
when = "cols % {{ lanes }} == 0"
[[template.launch.kernel]]
symbol = "rows_{{ lanes }}"
grid = ["min(rows, {{ 2 * lanes }} * sm_count)"]
block = ["{{ 32 * lanes }}"]
cluster = ["{{ lanes // 2 }}"]
[[template.launch]]
[[template.launch.kernel]]
symbol = "any"
grid = ["rows"]
block = ["32"]
[[template.tensor_map]]
name = "map"
tensor = "x"
dims = ["cols", "rows"]
strides_bytes = ["2 * cols"]
box = ["{{ 8 * lanes }}", 64]
swizzle = "128B"
[[template.gene]]
name = "lanes"
values = [4, 8]
"#;

    #[test]
    fn a_gpu_template_renders_its_launches_and_tensor_maps() {
        let head = HEAD.replace("cpu-x86_64", "cuda-sm_90a");
        let skills = skills(&format!("{head}{GPU}"), "__global__ void rows_{{ lanes }}() {} void any() {}");
        let machine = Machine { target: "cuda-sm_90a".parse().unwrap(), ..Machine::reference() };
        let context = RenderContext::named("x_f32");
        let template = &skills.templates_for(&context, &machine)[0];
        let plan = template.render(&template.default_genome(), &context).unwrap().plan;
        plan.check(&["rows", "cols"]).unwrap();
        let kernel = &plan.launches[0].kernels[0];
        assert_eq!((kernel.symbol.as_str(), kernel.cluster.as_slice()), ("rows_4", [2].as_slice()));
        assert_eq!(kernel.grid[0].text(), "min(rows, 8 * sm_count)");
        assert_eq!(plan.launches.len(), 2);
        assert_eq!(plan.tensor_maps[0].box_elements, [32, 64]);
        assert_eq!(skills.lint().problems, Vec::<String>::new());
    }

    #[test]
    fn a_launch_that_is_none_is_reported_with_its_template() {
        let broken = GPU.replace("block = [\"32\"]", "blocks = [\"32\"]");
        let skills = skills(&format!("{HEAD}{broken}"), "rows_{{ lanes }}( any(");
        let problems = skills.lint().problems;
        assert!(problems[0].contains("demo/a") && problems[0].contains("blocks"), "{problems:?}");
    }

    #[test]
    fn a_template_that_reads_an_unknown_gene_is_reported() {
        let skills = skills(HEAD, "{{ nothing }}");
        let report = skills.lint();
        assert_eq!((report.templates, report.rendered), (1, 0));
        assert!(report.problems[0].contains("demo/a"), "{:?}", report.problems);
    }
}

//! The shape of the tree: families and decisions at the start, actions later.

use std::collections::BTreeMap;

use kernsmith_core::port::{NodeBrief, PlanRequest};
use kernsmith_core::{Edit, GeneValue, Genome, NewNode, NodeId, NodeKind, Prediction};
use kernsmith_skill::{Gene, Machine, Template};

use crate::experience::Experience;

/// Decisions below one family at the start, at most; further decision genes are searched inside the nodes.
const MAX_DECISIONS: usize = 8;
/// What a word that is not the first guess is expected to reach of the first guess.
const SECOND_CHOICE: f64 = 0.93;
/// Attempts in a family before it is worth narrowing.
const NARROW_AFTER: u32 = 16;
/// Decisions whose best is within this factor of the family's best vote on what to fix.
const CLOSE: f64 = 0.95;
/// Genes that stay free when a strategy is narrowed.
const FREE_GENES: usize = 2;
/// How often a stagnating family is opened again.
const MAX_SWEEPS: usize = 3;
const NARROW: &str = "narrow: ";
const SWEEP: &str = "sweep ";

/// The first edits: one family a template, and below it one decision for each combination of its decision genes, without
/// what experience refuses.
pub(crate) fn start(templates: &[&Template], machine: &Machine, experience: &dyn Experience) -> Vec<Edit> {
    let alive = |template: &&&Template| experience.refuses(&template.id(), &Genome::new()).is_none();
    let kept: Vec<&Template> = templates.iter().filter(alive).copied().collect();
    // Where nothing is left, the tree says so by itself: every strategy in it comes out empty.
    families_of(if kept.is_empty() { templates } else { &kept }, machine, experience)
}

fn families_of(templates: &[&Template], machine: &Machine, experience: &dyn Experience) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut titles: Vec<String> = Vec::new();
    for template in templates {
        let repeated = titles.contains(&template.title);
        let title =
            if repeated { format!("{} ({})", template.title, template.id()) } else { template.title.clone() };
        titles.push(title.clone());
        let family = NodeId(edits.len() as u32 + 1);
        let expected =
            |fixed: &Genome, otherwise| experience.predict(&template.id(), fixed).unwrap_or(otherwise);
        let mut node = family_node(template, title);
        node.predicted = expected(&Genome::new(), node.predicted);
        edits.push(Edit::Insert { parent: NodeId::ROOT, node });
        let open = |fixed: &Genome| experience.refuses(&template.id(), fixed).is_none();
        edits.extend(decisions(template).into_iter().filter(open).map(|fixed| {
            let mut node = decision_node(template, fixed, machine);
            node.predicted = expected(&node.fixed, node.predicted);
            Edit::Insert { parent: family, node }
        }));
    }
    edits
}

fn family_node(template: &Template, title: String) -> NewNode {
    NewNode {
        kind: NodeKind::Family,
        title,
        rationale: template.rationale.clone(),
        template: Some(template.id()),
        fixed: Genome::new(),
        axes: vec![format!("template={}", template.name)],
        predicted: template.predicted,
        difficulty: template.difficulty,
        expected_instructions: template.expected_instructions.get("*").cloned().unwrap_or_default(),
    }
}

/// Combinations of the decision genes that some legal genome has; genes are taken as long as there are few combinations.
fn decisions(template: &Template) -> Vec<Genome> {
    let mut combinations = vec![Genome::new()];
    for gene in template.genes.iter().filter(|gene| gene.decision && gene.values.len() > 1) {
        if combinations.len() * gene.values.len() > MAX_DECISIONS {
            continue;
        }
        let with = |value: &GeneValue, genome: &Genome| {
            let mut genome = genome.clone();
            genome.insert(gene.name.clone(), value.clone());
            genome
        };
        combinations = gene
            .values
            .iter()
            .flat_map(|value| combinations.iter().map(move |genome| with(value, genome)))
            .collect();
    }
    combinations.retain(|genome| !genome.is_empty());
    combinations
}

fn decision_node(template: &Template, fixed: Genome, machine: &Machine) -> NewNode {
    let axes = axes(&fixed);
    let vector = fixed.get("vector").map(ToString::to_string).unwrap_or_default();
    NewNode {
        kind: NodeKind::Decision,
        title: axes.join(" "),
        rationale: summaries(template, &fixed),
        template: None,
        predicted: scaled(template, &fixed, machine),
        axes,
        fixed,
        difficulty: template.difficulty,
        expected_instructions: template.expected_instructions.get(&vector).cloned().unwrap_or_default(),
    }
}

fn axes(fixed: &Genome) -> Vec<String> {
    fixed.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn summaries(template: &Template, fixed: &Genome) -> String {
    let summary = |(name, value): (&String, &GeneValue)| {
        let gene = template.gene(name)?;
        let what = if gene.summary.is_empty() { name } else { &gene.summary };
        Some(format!("{what}: {value}"))
    };
    fixed.iter().filter_map(summary).collect::<Vec<_>>().join("; ")
}

/// The template's prediction for a decision: fewer threads give less, a second choice of a word a little less.
///
/// Threads scale with `(threads / cores)^0.6`, between full scaling and bandwidth that one thread nearly saturates; the
/// interval spans the two. Calibration corrects the exponent's error within a few attempts.
fn scaled(template: &Template, fixed: &Genome, machine: &Machine) -> Prediction {
    let mut predicted = template.predicted;
    for (name, value) in fixed {
        let Some(gene) = template.gene(name) else { continue };
        let (low, ratio, high) = match value {
            GeneValue::Int(threads) if name == "threads" => {
                let share = (*threads as f64 / f64::from(machine.cores.max(1))).clamp(1e-3, 1.0);
                (share, share.powf(0.6), share.powf(0.2))
            }
            value if is_second_choice(gene, value) => (SECOND_CHOICE.powi(2), SECOND_CHOICE, 1.0),
            _ => (1.0, 1.0, 1.0),
        };
        predicted = Prediction {
            ratio: predicted.ratio * ratio,
            low: predicted.low * low,
            high: predicted.high * high,
        };
    }
    predicted
}

fn is_second_choice(gene: &Gene, value: &GeneValue) -> bool {
    *value != gene.default
}

/// Narrows the leading families: an action that fixes the genes on which their best attempts agree.
pub(crate) fn refine(request: &PlanRequest, templates: &[&Template]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for family in families(request) {
        let template = templates.iter().find(|template| Some(template.id()) == family.strategy.template);
        let narrowed = children(request, family).any(|child| title(child).starts_with(NARROW));
        let (Some(template), false) = (template, narrowed) else { continue };
        if family.attempts >= NARROW_AFTER && family.open {
            edits.extend(narrow(request, family, template));
        }
    }
    edits.truncate(1);
    edits
}

fn narrow(request: &PlanRequest, family: &NodeBrief, template: &Template) -> Option<Edit> {
    let bar = family.best_ratio? * CLOSE;
    let mut bests: Vec<&Genome> = children(request, family)
        .chain([family])
        .filter(|node| node.best_ratio.is_some_and(|ratio| ratio >= bar))
        .filter_map(|node| Some(&node.best.as_ref()?.genome))
        .collect();
    bests.dedup();
    let leader = &family.best.as_ref()?.genome;
    let agreed =
        leader.iter().filter(|(name, value)| bests.iter().all(|genome| genome.get(*name) == Some(*value)));
    let mut fixed: Genome = agreed.map(|(name, value)| (name.clone(), value.clone())).collect();
    let several = |name: &str| template.gene(name).is_some_and(|gene| gene.values.len() > 1);
    fixed.retain(|name, _| several(name));
    // Genes of the later dimensions are the finer ones: they are set free first.
    let free = |fixed: &Genome| {
        template.genes.iter().filter(|gene| gene.values.len() > 1 && !fixed.contains_key(&gene.name)).count()
    };
    for gene in template.genes.iter().rev() {
        if free(&fixed) < FREE_GENES {
            fixed.remove(&gene.name);
        }
    }
    let ratio = family.best_ratio?;
    (!fixed.is_empty()).then(|| Edit::Insert {
        parent: family.strategy.node,
        node: NewNode {
            kind: NodeKind::Action,
            title: clipped(format!("{NARROW}{}", axes(&fixed).join(" "))),
            rationale: "The best attempts agree on these genes; the others are searched around them."
                .to_owned(),
            template: None,
            axes: Vec::new(),
            fixed,
            predicted: Prediction { ratio: ratio * 1.03, low: ratio, high: ratio * 1.1 },
            difficulty: 1,
            expected_instructions: Vec::new(),
        },
    })
}

/// Opens the most promising families again, with every gene free.
pub(crate) fn reopen(request: &PlanRequest, sizes: &BTreeMap<String, Option<usize>>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for family in families(request) {
        let sweeps = children(request, family).filter(|child| title(child).starts_with(SWEEP)).count();
        let size =
            family.strategy.template.as_ref().and_then(|template| sizes.get(template)).copied().flatten();
        let emptied = size.is_some_and(|size| family.attempts as usize >= size);
        let (Some(ratio), false) = (family.best_ratio, emptied || sweeps >= MAX_SWEEPS) else { continue };
        edits.push(Edit::Insert {
            parent: family.strategy.node,
            node: NewNode {
                kind: NodeKind::Action,
                title: format!("{SWEEP}{}", sweeps + 1),
                rationale: "Everything open has stagnated; what is untried in this family gets another look."
                    .to_owned(),
                template: None,
                axes: Vec::new(),
                fixed: Genome::new(),
                predicted: Prediction { ratio: ratio * 1.01, low: ratio * 0.9, high: ratio * 1.2 },
                difficulty: 1,
                expected_instructions: Vec::new(),
            },
        });
    }
    edits.truncate(2);
    edits
}

/// Families, best first.
fn families(request: &PlanRequest) -> Vec<&NodeBrief> {
    let mut families: Vec<&NodeBrief> =
        request.nodes.iter().filter(|node| node.parent == Some(NodeId::ROOT)).collect();
    let best = |node: &NodeBrief| node.best_ratio.unwrap_or(0.0);
    families.sort_by(|a, b| best(b).total_cmp(&best(a)));
    families
}

fn children<'a>(request: &'a PlanRequest, family: &NodeBrief) -> impl Iterator<Item = &'a NodeBrief> {
    let parent = family.strategy.node;
    request.nodes.iter().filter(move |node| node.parent == Some(parent))
}

fn title(node: &NodeBrief) -> &str {
    node.strategy.path.last().map_or("", String::as_str)
}

fn clipped(mut title: String) -> String {
    let mut end = title.len().min(110);
    while !title.is_char_boundary(end) {
        end -= 1;
    }
    title.truncate(end);
    title
}

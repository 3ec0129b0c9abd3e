//! Writes the words of a question, part by part, within a budget.

use std::sync::OnceLock;

use kernsmith_core::brief::{Attempt, AttemptDetails, Details, Task, TimedShape};
use kernsmith_core::port::{PlanOccasion, PlanRequest};
use kernsmith_core::prompt::{CodeKind, Prompt, Question, Section};
use kernsmith_core::{Brief, Prediction, Seq};
use serde_json::{Value, json};
use tera::{Context, Tera};

/// Ends an item that may be left out.
const CUT: &str = "\u{1e}";

/// One part: its name, and when it is cut; 0 is never, 1 is first.
type Part = (&'static str, u8);

const CODE_PARTS: [Part; 12] = [
    ("Operation", 0),
    ("Timed shapes", 0),
    ("Machine", 0),
    ("Strategy", 0),
    ("Task", 0),
    ("Base", 0),
    ("Other version", 6),
    ("Failures", 5),
    ("Attempts", 4),
    ("Knowledge", 3),
    ("Closed strategies", 2),
    ("Notes of the contract", 1),
];

const PLAN_PARTS: [Part; 11] = [
    ("Occasion", 0),
    ("Operation", 0),
    ("Timed shapes", 0),
    ("Machine", 0),
    ("Tree", 0),
    ("Refused", 0),
    ("Best attempts", 5),
    ("Knowledge", 4),
    ("Closed strategies", 3),
    ("The frozen baseline", 2),
    ("Notes of the contract", 1),
];

const ATTACK_PARTS: [Part; 9] = [
    ("Operation", 0),
    ("Timed shapes", 0),
    ("Machine", 0),
    ("Kind of attack", 0),
    ("The harness", 0),
    ("The frozen baseline", 0),
    ("Attempts", 3),
    ("Failures", 2),
    ("Notes of the contract", 1),
];

const EVIDENCE_PARTS: [Part; 7] = [
    ("Operation", 0),
    ("Timed shapes", 0),
    ("Machine", 0),
    ("Strategy", 0),
    ("Attempt", 0),
    ("Attempts", 2),
    ("Failures", 1),
];

const REVIEW_PARTS: [Part; 4] = [("Operation", 0), ("Machine", 0), ("Strategy", 0), ("Candidate", 0)];

/// The prompt for a question, cut to about `budget` tokens: parts that matter least lose their last items first, in a fixed
/// order. Parts that are never cut may exceed the budget by themselves.
pub fn prompt(question: &Question<'_>, budget: u64) -> Prompt {
    let (template, parts, context): (_, &[Part], _) = match question {
        Question::Code { brief, kind, base, other, advice } => {
            let mut context = code_context(brief, *kind, *base, *other);
            context["advice"] = json!(advice);
            ("code", &CODE_PARTS, context)
        }
        Question::Evidence { brief, attempt } => {
            let mut context = code_context(brief, CodeKind::Improve, Some(*attempt), None);
            context["promised"] = json!(promised(brief, *attempt));
            ("evidence", &EVIDENCE_PARTS, context)
        }
        Question::Attack { brief } => {
            ("attack", &ATTACK_PARTS, code_context(brief, CodeKind::Fresh, None, None))
        }
        Question::Plan(request) => ("plan", &PLAN_PARTS, plan_context(request)),
        Question::Review { brief, diff, plan, rationale } => {
            let mut context = strategy_context(brief);
            context["diff"] = json!(diff);
            context["plan"] = json!(plan_text(plan));
            context["rationale"] = json!(rationale);
            ("review", &REVIEW_PARTS, context)
        }
    };
    let write = |part: &str| render(template, part, &context);
    let drafts = parts.iter().map(|(name, rank)| Draft::new(name, *rank, &write(name)));
    cut(&write("role"), drafts.collect(), budget)
}

/// A part that may still lose items.
struct Draft {
    name: &'static str,
    rank: u8,
    items: Vec<String>,
    cut: u64,
}

impl Draft {
    fn new(name: &'static str, rank: u8, text: &str) -> Self {
        let items = text.split(CUT).map(str::to_owned).filter(|item| !item.trim().is_empty());
        Self { name, rank, items: items.collect(), cut: 0 }
    }

    fn section(&self) -> Section {
        Section { name: self.name.to_owned(), text: self.items.concat(), cut: self.cut }
    }
}

fn cut(role: &str, mut drafts: Vec<Draft>, budget: u64) -> Prompt {
    loop {
        let sections = drafts.iter().map(Draft::section).collect();
        let prompt = Prompt { role: role.to_owned(), sections };
        if prompt.tokens() <= budget {
            return prompt;
        }
        let expendable = drafts.iter_mut().filter(|draft| draft.rank > 0 && !draft.items.is_empty());
        let Some(least) = expendable.min_by_key(|draft| draft.rank) else { return prompt };
        least.items.pop();
        least.cut += 1;
    }
}

fn templates() -> &'static Tera {
    static TEMPLATES: OnceLock<Tera> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let mut tera = Tera::default();
        let added = tera.add_raw_templates(vec![
            ("code", include_str!("../templates/code.tera")),
            ("plan", include_str!("../templates/plan.tera")),
            ("evidence", include_str!("../templates/evidence.tera")),
            ("review", include_str!("../templates/review.tera")),
            ("attack", include_str!("../templates/attack.tera")),
        ]);
        debug_assert!(added.is_ok(), "{added:?}");
        tera
    })
}

/// One part of a template; a template that does not know a value says so in the prompt, where tests look for it.
fn render(template: &str, part: &str, context: &Value) -> String {
    let mut values = Context::new();
    for (name, value) in context.as_object().into_iter().flatten() {
        values.insert(name.clone(), value);
    }
    values.insert("part", part);
    values.insert("cut", CUT);
    templates().render(template, &values).unwrap_or_else(|error| format!("(template fault: {error:?})"))
}

fn shapes(task: &Task) -> Vec<String> {
    let line = |shape: &TimedShape| {
        let axes: Vec<String> = shape.axes.iter().map(|(axis, value)| format!("{axis} {value}")).collect();
        let bound =
            shape.sol_us.map(|bound| format!(", the roofline bound is {bound:.2} us")).unwrap_or_default();
        format!(
            "{}: {} (weight {}): the frozen baseline `{}` takes {:.2} us{bound}",
            shape.name,
            axes.join(", "),
            shape.weight,
            task.baseline,
            shape.baseline_us
        )
    };
    task.workloads.iter().map(line).collect()
}

fn expectation(predicted: &Prediction) -> String {
    let Prediction { ratio, low, high } = predicted;
    format!("{ratio:.2}x the baseline, between {low:.2}x and {high:.2}x")
}

/// What an attempt's author expected of it.
fn promised(brief: &Brief, attempt: Seq) -> Option<String> {
    let details = brief.details.as_ref()?.attempts.get(&attempt)?;
    details.predicted.as_ref().map(expectation)
}

fn strategy_context(brief: &Brief) -> Value {
    let details = brief.details.as_deref().cloned().unwrap_or_default();
    json!({
        "task": details.task,
        "baseline_plan": plan_text(&details.task.baseline_plan),
        "shapes": shapes(&details.task),
        "expectation": expectation(&brief.strategy.predicted),
        "strategy": brief.strategy,
        "path": brief.strategy.path.join(" > "),
        "expected": brief.strategy.expected_instructions.join(", "),
        "packets": details.packets,
        "closed": details.closed,
    })
}

fn code_context(brief: &Brief, kind: CodeKind, base: Option<Seq>, other: Option<Seq>) -> Value {
    let mut context = strategy_context(brief);
    let details = brief.details.as_deref();
    let known = |seq: Option<Seq>| shown(details, seq?, &brief.elites);
    let failures = brief.failures.iter().filter(|attempt| Some(attempt.proposal) != base).map(|attempt| {
        let (class, detail) = attempt.failure.clone().map_or(("", String::new()), |(c, d)| (c.as_str(), d));
        json!({"name": attempt.proposal.to_string(), "class": class, "detail": detail})
    });
    let elites = brief.elites.iter().filter(|attempt| Some(attempt.proposal) != base).map(|attempt| {
        let rationale = details.and_then(|details| details.attempts.get(&attempt.proposal));
        json!({
            "name": attempt.proposal.to_string(), "ratio": format!("{:.3}x", attempt.ratio.unwrap_or(0.0)),
            "rationale": rationale.map(|attempt| attempt.rationale.clone()).unwrap_or_default(),
        })
    });
    context["kind"] = json!(kind.as_str());
    context["failures"] = failures.collect();
    context["elites"] = elites.collect();
    context["base"] = known(base).unwrap_or(Value::Null);
    context["other"] = known(other).unwrap_or(Value::Null);
    context
}

fn plan_context(request: &PlanRequest) -> Value {
    let details = request.details.as_deref().cloned().unwrap_or_default();
    let attempts: Vec<Value> =
        details.attempts.keys().filter_map(|seq| shown(Some(&details), *seq, &[])).collect();
    json!({
        "task": details.task, "baseline_plan": plan_text(&details.task.baseline_plan), "shapes": shapes(&details.task), "packets": details.packets, "closed": details.closed,
        "attempts": attempts,
        "tree": request.tree, "refused": request.refused,
        "occasion": match request.occasion {
            PlanOccasion::Start => "start",
            PlanOccasion::Refine => "refine",
            PlanOccasion::Stagnation => "stagnation",
        },
    })
}

/// An attempt with its source, in a template's words.
fn shown(details: Option<&Details>, seq: Seq, elites: &[Attempt]) -> Option<Value> {
    let AttemptDetails { source, plan, rationale, feedback, .. } = details?.attempts.get(&seq)?;
    let ratio = elites.iter().find(|attempt| attempt.proposal == seq).and_then(|attempt| attempt.ratio);
    let ratio = ratio.map(|ratio| format!(", {ratio:.3}x the baseline")).unwrap_or_default();
    Some(json!({
        "name": seq.to_string(), "ratio": ratio, "source": source.trim_end(), "plan": plan_text(plan),
        "rationale": rationale, "feedback": feedback,
    }))
}

fn plan_text(plan: &kernsmith_core::Plan) -> String {
    serde_json::to_string(plan).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(notes: &str, closed: usize) -> PlanRequest {
        let details = Details {
            task: Task { summary: "y = x".to_owned(), notes: notes.to_owned(), ..Task::default() },
            closed: (0..closed).map(|number| format!("n{number} is closed")).collect(),
            ..Details::default()
        };
        PlanRequest {
            occasion: PlanOccasion::Start,
            tree: "n0 y".to_owned(),
            nodes: Vec::new(),
            refused: vec!["edit 0: no".to_owned()],
            details: Some(Box::new(details)),
        }
    }

    fn brief() -> Brief {
        Brief {
            contract: "c".to_owned(),
            target: kernsmith_core::Target::host(),
            strategy: crate::nothing(kernsmith_core::NodeId(1)),
            elites: Vec::new(),
            failures: Vec::new(),
            champion: None,
            tried: Vec::new(),
            trials: Vec::new(),
            ordinal: 0,
            seed: 1,
            details: None,
        }
    }

    #[test]
    fn every_part_of_every_template_can_be_written() {
        let brief = brief();
        let plan = kernsmith_core::Plan::default();
        let review = Question::Review { brief: &brief, diff: "- a\n+ b", plan: &plan, rationale: "faster" };
        let request = request("notes", 3);
        let evidence = Question::Evidence { brief: &brief, attempt: Seq(1) };
        let mut questions =
            vec![Question::Plan(&request), review, evidence, Question::Attack { brief: &brief }];
        questions.extend(CodeKind::ALL.map(|kind| Question::Code {
            brief: &brief,
            kind,
            base: None,
            other: None,
            advice: Some("narrow stores"),
        }));
        for question in &questions {
            let text = prompt(question, 100_000).text();
            assert!(!text.contains("template fault"), "{text}");
        }
    }

    #[test]
    fn whoever_writes_for_a_gpu_is_told_of_launches_and_the_plan_of_the_baseline() {
        let plan = r#"{"launch": [{"kernel": [{"symbol": "rows", "grid": ["rows"], "block": ["256"]}]}]}"#;
        let task = Task {
            baseline_plan: serde_json::from_str(plan).unwrap(),
            language: kernsmith_core::Language::Cuda,
            target: "cuda-sm_90a".to_owned(),
            ..Task::default()
        };
        let details = Some(Box::new(Details { task, ..Details::default() }));
        let brief = Brief { details, ..brief() };
        let question =
            Question::Code { brief: &brief, kind: CodeKind::Fresh, base: None, other: None, advice: None };
        let prompt = prompt(&question, 100_000);
        assert!(prompt.role.contains("CUDA") && prompt.role.contains("cuda-sm_90a"), "{}", prompt.role);
        assert!(!prompt.role.contains("immintrin"));
        assert!(prompt.text().contains("\"symbol\":\"rows\"") && prompt.text().contains("```cuda"));
    }

    #[test]
    fn what_matters_least_is_cut_first_and_the_task_never() {
        let request = request(&"long notes ".repeat(400), 200);
        let question = Question::Plan(&request);
        let whole = prompt(&question, 1_000_000);
        let cut = |budget: u64, name: &str| {
            let prompt = prompt(&question, budget);
            prompt.sections.iter().find(|section| section.name == name).unwrap().cut
        };
        assert_eq!(cut(whole.tokens(), "Closed strategies"), 0);
        assert_eq!(cut(whole.tokens() - 1, "Notes of the contract"), 1);
        assert_eq!(cut(whole.tokens() - 1, "Closed strategies"), 0);
        let least = prompt(&question, 1);
        assert!(least.text().contains("y = x") && least.text().contains("edit 0: no"));
        assert_eq!(least, prompt(&question, 1), "the order of cuts is fixed");
    }
}

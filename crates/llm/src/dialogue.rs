//! The course of one question: first answer, repair, review, revision. Pure: it reads the log's answers and says what to
//! ask next.

use kernsmith_core::brief::Attempt;
use kernsmith_core::inspect::{Inspection, Look};
use kernsmith_core::model::PromptSection;
use kernsmith_core::port::{PlanOccasion, PlanRequest};
use kernsmith_core::prompt::{CodeKind, Prompt, Question, tokens};
use kernsmith_core::{
    Brief, CallClass, Edit, Language, NewNode, NodeId, NodeKind, Origin, Prediction, Proposal, Seq,
};

use crate::answer::{self, Code};
use crate::ask::{Ask, OnRequest, Turn};
use crate::bandit;
use crate::course::Allowance;
use crate::evidence;
use crate::memory::{Answered, Arm};
use crate::options::Manner;
use crate::patch;
use crate::proposer::{Duty, Llm};

/// Failed rounds of planning after which a search begins with one plain family.
const PLAN_ROUNDS: usize = 2;

/// The word that stands in the log for an auditor's candidate.
const ATTACK: &str = "attack";

/// A question that has to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) place: String,
    pub(crate) role: &'static str,
    pub(crate) purpose: String,
    pub(crate) node: Option<NodeId>,
    pub(crate) ask: Ask,
    pub(crate) sections: Vec<PromptSection>,
    pub(crate) check: Check,
    /// Evidence that it wants before it is sent, what it got, and what it may still ask for.
    pub(crate) wishes: Vec<Inspection>,
    pub(crate) shown: Vec<Look>,
    pub(crate) left: Allowance,
}

/// What an answer must be to be of use.
#[derive(Debug, Clone)]
pub(crate) enum Check {
    /// A candidate, other than this base.
    Code { base: String },
    /// An edit script for a tree of so many nodes.
    Edits { nodes: usize },
    /// A review.
    Review,
    /// What evidence says.
    Advice,
}

/// Where a question stands.
pub(crate) enum Step<T> {
    /// This has to be asked next.
    Ask(Box<Pending>),
    /// It is settled.
    Done(T),
    /// It did not work out in this round.
    Failed(String),
}

/// From what a candidate is to be made.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) kind: CodeKind,
    base: Option<Seq>,
    other: Option<Seq>,
    source: String,
}

/// From what every question about one candidate is made.
struct Draft<'a> {
    round: &'a str,
    role: &'static str,
    model: &'a str,
    prompt: Prompt,
    check: Check,
    node: NodeId,
    language: Language,
}

impl Llm {
    /// One round of asking for a candidate.
    pub(crate) fn code_round(&mut self, brief: &Brief, round: &str) -> Step<Proposal> {
        let arm = self.arm(brief, round);
        let ground = ground(brief, &arm.kind);
        let advice = match self.evidence_read(brief, &ground) {
            Ok(advice) => advice,
            Err(pending) => return Step::Ask(pending),
        };
        let first = |budget: u64| {
            let question = match self.duty {
                Duty::Audit => Question::Attack { brief },
                Duty::Search => Question::Code {
                    brief,
                    kind: ground.kind,
                    base: ground.base,
                    other: ground.other,
                    advice: advice.as_deref(),
                },
            };
            (self.render)(&question, budget)
        };
        let draft = Draft {
            round,
            role: self.duty.role(),
            model: &arm.model,
            prompt: first(self.options.prompt_tokens),
            check: Check::Code { base: ground.source.clone() },
            node: brief.strategy.node,
            language: brief.target.language(),
        };
        let course = self.course(&format!("{round}/0"));
        let Some(answer) = course.settled() else {
            return Step::Ask(course.go_on(self.code_question(&draft, &arm.kind, Vec::new())));
        };
        let (stage, draft, more) = match answer.class {
            CallClass::Answered => ("0", draft, Vec::new()),
            CallClass::ContextOverflow => {
                ("shrink", Draft { prompt: first(self.options.prompt_tokens / 2), ..draft }, Vec::new())
            }
            class if is_repairable(class) => {
                ("repair", draft, [course.looked.clone(), repair(answer)].concat())
            }
            class => return Step::Failed(format!("{class}: {}", answer.detail)),
        };
        let course = self.course(&format!("{round}/{stage}"));
        let Some(answer) = course.settled() else {
            return Step::Ask(course.go_on(self.code_question(&draft, stage, more)));
        };
        let written = match self.code(answer, &ground) {
            Ok(code) => self.reviewed(brief, &draft, &ground, code),
            Err(problem) => return Step::Failed(problem),
        };
        match written {
            Ok(code) => Step::Done(proposal(brief, &arm, &ground, code)),
            Err(pending) => Step::Ask(pending),
        }
    }

    /// The code after a review, where somebody reviews; or what has to be asked for that.
    fn reviewed(
        &self,
        brief: &Brief,
        draft: &Draft<'_>,
        ground: &Ground,
        code: Code,
    ) -> Result<Code, Box<Pending>> {
        if self.options.reviewer_model.is_none() || self.duty == Duty::Audit {
            return Ok(code);
        }
        let Some(problems) = self.review(brief, draft.round, ground, &code)? else { return Ok(code) };
        let course = self.course(&format!("{}/revise", draft.round));
        let Some(answer) = course.settled() else {
            let mut turns = self.conversation(draft.round);
            turns.push(Turn::User(problems));
            return Err(course.go_on(self.code_question(draft, "revise", turns)));
        };
        // A revision that cannot be used leaves the first version, which the harness will judge.
        Ok(self.code(answer, ground).unwrap_or(code))
    }

    /// A question to whoever writes code, with more turns after the prompt.
    fn code_question(&self, draft: &Draft<'_>, purpose: &str, more: Vec<Turn>) -> Pending {
        let check = draft.check.clone();
        let format = answer::code_format(draft.language);
        let mut pending = self.pending(draft.role, draft.model, &draft.prompt, &format, check);
        purpose.clone_into(&mut pending.purpose);
        pending.node = Some(draft.node);
        pending.ask.turns.extend(more);
        pending
    }

    /// What a reviewer wants changed; nothing where it is content or of no use.
    fn review(
        &self,
        brief: &Brief,
        round: &str,
        ground: &Ground,
        code: &Code,
    ) -> Result<Option<String>, Box<Pending>> {
        let course = self.course(&format!("{round}/review"));
        let Some(answer) = course.settled() else {
            let diff = patch::difference(&ground.source, &code.source);
            let question =
                Question::Review { brief, diff: &diff, plan: &code.plan, rationale: &code.rationale };
            let prompt = (self.render)(&question, self.options.prompt_tokens);
            let model = self.options.reviewer_model.clone().unwrap_or_default();
            let mut pending = self.pending("reviewer", &model, &prompt, answer::REVIEW_FORMAT, Check::Review);
            "review".clone_into(&mut pending.purpose);
            pending.node = Some(brief.strategy.node);
            return Err(course.go_on(pending));
        };
        Ok(answer::read_review(&answer.reply).ok().and_then(|review| {
            let revise = review.verdict == "revise" && !review.problems.is_empty();
            revise.then(|| {
                format!(
                    "A reviewer read this before it was built and found:\n- {}\nAnswer again in full, in the same format, with \
                     these mended where they are real.",
                    review.problems.join("\n- ")
                )
            })
        }))
    }

    /// What was said about a candidate after the first question, evidence included, up to the usable answer.
    fn conversation(&self, round: &str) -> Vec<Turn> {
        let first = self.course(&format!("{round}/0"));
        let Some(answer) = first.settled() else { return Vec::new() };
        let (mut turns, stage) = match answer.class {
            CallClass::Answered => {
                return [first.looked.clone(), vec![Turn::Model(answer.reply.clone())]].concat();
            }
            CallClass::ContextOverflow => (Vec::new(), "shrink"),
            _ => ([first.looked.clone(), repair(answer)].concat(), "repair"),
        };
        let second = self.course(&format!("{round}/{stage}"));
        turns.extend(second.looked.iter().cloned());
        turns.extend(second.settled().map(|answer| Turn::Model(answer.reply.clone())));
        turns
    }

    /// What the reviewer reads out of the evidence of the attempt that is built upon, once for each attempt; nothing where
    /// nobody reviews or nothing usable was said.
    fn evidence_read(&self, brief: &Brief, ground: &Ground) -> Result<Option<String>, Box<Pending>> {
        let (Some(model), Some(attempt)) = (&self.options.reviewer_model, ground.base) else {
            return Ok(None);
        };
        if self.duty == Duty::Audit {
            return Ok(None);
        }
        let place = format!("read/{}", attempt.0);
        if let Some(advice) = self.memory.advice.get(&place) {
            return Ok(advice.clone());
        }
        let course = self.course(&place);
        let prompt = (self.render)(&Question::Evidence { brief, attempt }, self.options.prompt_tokens);
        let mut pending = self.pending("reviewer", model, &prompt, answer::ADVICE_FORMAT, Check::Advice);
        "evidence".clone_into(&mut pending.purpose);
        pending.node = Some(brief.strategy.node);
        Err(course.go_on(pending))
    }

    fn code(&self, answer: &Answered, ground: &Ground) -> Result<Code, String> {
        if answer.class != CallClass::Answered {
            return Err(format!("{}: {}", answer.class, answer.detail));
        }
        answer::read_code(&answer.reply, &ground.source, &self.axes)
            .map_err(|(class, problem)| format!("{class}: {problem}"))
    }

    /// Who is asked and how: as the log says, else as chosen earlier, else what the bandit says now.
    fn arm(&mut self, brief: &Brief, round: &str) -> Arm {
        if let Some(first) = self.memory.at(&format!("{round}/0")) {
            return Arm { model: first.model.clone(), kind: first.purpose.clone() };
        }
        if let Some(arm) = self.pins.get(round) {
            return arm.clone();
        }
        let kinds: Vec<&str> = match self.duty {
            Duty::Search => kinds(brief).into_iter().map(CodeKind::as_str).collect(),
            Duty::Audit => vec![ATTACK],
        };
        let arms: Vec<Arm> = kinds
            .into_iter()
            .flat_map(|kind| {
                let kind = kind.to_owned();
                self.options.models.iter().map(move |model| Arm { model: model.clone(), kind: kind.clone() })
            })
            .collect();
        let mut tallies = self.memory.arms.clone();
        for pinned in self.pins.values() {
            tallies.entry(pinned.clone()).or_default().pulls += 1;
        }
        let arm = bandit::choose(&arms, &tallies).unwrap_or_else(|| Arm {
            model: self.options.planner_model.clone(),
            kind: CodeKind::Fresh.as_str().to_owned(),
        });
        self.pins.insert(round.to_owned(), arm.clone());
        arm
    }

    /// One round of asking for edits.
    pub(crate) fn plan_round(&self, request: &PlanRequest, round: &str) -> Step<Vec<Edit>> {
        let nodes = request.nodes.len() + 1;
        let question = |purpose: &str, budget: u64, more: Vec<Turn>| {
            let prompt = (self.render)(&Question::Plan(request), budget);
            let (model, check) = (self.options.planner_model.clone(), Check::Edits { nodes });
            let mut pending = self.pending("planner", &model, &prompt, answer::EDITS_FORMAT, check);
            purpose.clone_into(&mut pending.purpose);
            pending.ask.turns.extend(more);
            pending
        };
        let read = |answer: &Answered| match answer::read_edits(&answer.reply, nodes) {
            Ok(edits) if answer.class == CallClass::Answered => Step::Done(edits),
            Ok(_) => Step::Failed(format!("{}: {}", answer.class, answer.detail)),
            Err((class, problem)) => Step::Failed(format!("{class}: {problem}")),
        };
        let whole = self.options.prompt_tokens;
        let course = self.course(&format!("{round}/0"));
        let Some(answer) = course.settled() else {
            return Step::Ask(course.go_on(question(occasion(request.occasion), whole, Vec::new())));
        };
        let (stage, budget, more) = match answer.class {
            CallClass::Answered => return read(answer),
            CallClass::ContextOverflow => ("shrink", whole / 2, Vec::new()),
            class if is_repairable(class) => {
                ("repair", whole, [course.looked.clone(), repair(answer)].concat())
            }
            class => return Step::Failed(format!("{class}: {}", answer.detail)),
        };
        let course = self.course(&format!("{round}/{stage}"));
        match course.settled() {
            Some(answer) => read(answer),
            None => Step::Ask(course.go_on(question(stage, budget, more))),
        }
    }

    /// A plain family to begin with, when a model cannot plan but may still be able to write code.
    pub(crate) fn fallback(&self, request: &PlanRequest, failed_rounds: usize) -> Option<Vec<Edit>> {
        let stuck = request.occasion == PlanOccasion::Start && failed_rounds >= PLAN_ROUNDS;
        (stuck && !self.memory.barren.keys().any(|class| class.is_outage())).then(|| vec![plain_family()])
    }

    fn pending(
        &self,
        role: &'static str,
        model: &str,
        prompt: &Prompt,
        format: &str,
        check: Check,
    ) -> Pending {
        let (manner, schema): (&Manner, _) = match check {
            Check::Code { .. } => (&self.options.coder, ("candidate", answer::code_schema())),
            Check::Edits { .. } => (&self.options.planner, ("edits", answer::edits_schema())),
            Check::Review => (&self.options.reviewer, ("review", answer::review_schema())),
            Check::Advice => (&self.options.reviewer, ("advice", answer::advice_schema())),
        };
        let part =
            |name: &str, text: &str, cut| PromptSection { name: name.to_owned(), tokens: tokens(text), cut };
        let mut sections = vec![part("Role", &prompt.role, 0)];
        sections
            .extend(prompt.sections.iter().map(|section| part(&section.name, &section.text, section.cut)));
        let left = Allowance { calls: self.options.inspect_calls, bytes: self.options.inspect_bytes };
        let offered = self.inspect.is_some() && !left.is_spent();
        let more = if offered { evidence::format() } else { String::new() };
        if offered {
            sections.push(part("Evidence on request", &more, 0));
        }
        sections.push(part("Answer format", format, 0));
        let more = if offered { format!("# Evidence on request\n\n{more}\n\n") } else { more };
        let text = format!("{}\n\n{more}# Answer format\n\n{format}", prompt.text());
        Pending {
            place: String::new(),
            role,
            purpose: String::new(),
            node: None,
            ask: Ask {
                model: model.to_owned(),
                temperature: manner.temperature,
                effort: manner.effort.clone(),
                system: prompt.role.clone(),
                turns: vec![Turn::User(text)],
                schema: self.options.schema.then_some(schema),
                reply_tokens: self.options.reply_tokens,
                evidence: if offered { OnRequest::Offered } else { OnRequest::No },
            },
            sections,
            check,
            wishes: Vec::new(),
            shown: Vec::new(),
            left,
        }
    }
}

impl Duty {
    /// Who writes code.
    const fn role(self) -> &'static str {
        match self {
            Self::Search => "coder",
            Self::Audit => "auditor",
        }
    }
}

/// One strategy in which anything may be done.
pub(crate) fn plain_family() -> Edit {
    let node = NewNode {
        kind: NodeKind::Family,
        title: "straightforward".to_owned(),
        rationale: "There is no usable plan: one clear, vectorised, parallel implementation.".to_owned(),
        template: None,
        fixed: std::collections::BTreeMap::new(),
        axes: Vec::new(),
        predicted: Prediction { ratio: 1.5, low: 0.8, high: 4.0 },
        difficulty: 2,
        expected_instructions: Vec::new(),
    };
    Edit::Insert { parent: NodeId::ROOT, node }
}

/// The words of an occasion in a place and as a purpose.
pub(crate) const fn occasion(occasion: PlanOccasion) -> &'static str {
    match occasion {
        PlanOccasion::Start => "start",
        PlanOccasion::Refine => "refine",
        PlanOccasion::Stagnation => "stagnation",
    }
}

/// Whether the model may do better when it is told what was wrong.
const fn is_repairable(class: CallClass) -> bool {
    matches!(
        class,
        CallClass::Unreadable
            | CallClass::BadPatch
            | CallClass::BadPlan
            | CallClass::BadEdits
            | CallClass::CopiesBase
            | CallClass::Truncated
    )
}

fn repair(answer: &Answered) -> Vec<Turn> {
    let problem = if answer.class == CallClass::Truncated {
        "Your answer was cut off at the limit of tokens. Answer again, shorter: think less, and send a patch rather than a \
         whole program where one was asked for."
            .to_owned()
    } else {
        format!(
            "Your answer cannot be used ({}): {}. Answer again in full, in the same format.",
            answer.class, answer.detail
        )
    };
    let said = if answer.reply.is_empty() { "(nothing)".to_owned() } else { answer.reply.clone() };
    vec![Turn::Model(said), Turn::User(problem)]
}

/// The ways in which a candidate can be asked for: debug until something passes, then improve.
fn kinds(brief: &Brief) -> Vec<CodeKind> {
    let passed_here = brief.elites.iter().any(|attempt| attempt.node == brief.strategy.node);
    let readable = |attempt: &Attempt| source_of(brief, attempt.proposal).is_some();
    let passed = brief.elites.iter().filter(|attempt| readable(attempt)).count();
    let failed = brief.failures.iter().any(readable);
    match (passed_here, failed, passed) {
        (false, true, _) => vec![CodeKind::Debug],
        (_, _, 0) => vec![CodeKind::Fresh],
        (false, false, _) => vec![CodeKind::Fresh, CodeKind::Improve],
        (true, _, 1) => vec![CodeKind::Improve],
        (true, _, _) => vec![CodeKind::Improve, CodeKind::Contrast, CodeKind::Crossover],
    }
}

/// What a candidate of that kind is made from.
fn ground(brief: &Brief, kind: &str) -> Ground {
    let kind = CodeKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap_or(CodeKind::Fresh);
    let readable = |attempt: &&Attempt| source_of(brief, attempt.proposal).is_some();
    let mut elites = brief.elites.iter().filter(readable);
    let (base, other) = match kind {
        CodeKind::Fresh => (None, None),
        CodeKind::Debug => (brief.failures.iter().find(readable), None),
        CodeKind::Improve => (elites.next().or(brief.champion.as_ref()), None),
        CodeKind::Contrast => (elites.next(), elites.next_back()),
        CodeKind::Crossover => (elites.next(), elites.next()),
    };
    let (base, other) = (base.map(|attempt| attempt.proposal), other.map(|attempt| attempt.proposal));
    let baseline = || brief.details.as_ref().map(|details| details.task.baseline_source.clone());
    let source = base.and_then(|seq| source_of(brief, seq)).or_else(baseline).unwrap_or_default();
    Ground { kind, base, other, source }
}

fn source_of(brief: &Brief, seq: Seq) -> Option<String> {
    Some(brief.details.as_ref()?.attempts.get(&seq)?.source.clone())
}

fn proposal(brief: &Brief, arm: &Arm, ground: &Ground, code: Code) -> Proposal {
    Proposal {
        node: brief.strategy.node,
        language: brief.target.language(),
        source: code.source,
        plan: code.plan,
        origin: Origin {
            proposer: format!("llm:{}", arm.model),
            operator: arm.kind.clone(),
            parents: ground.base.into_iter().chain(ground.other).collect(),
            ..Origin::default()
        },
        prediction: Some(code.predicted.unwrap_or(brief.strategy.predicted)),
        rationale: code.rationale,
    }
}

//! The proposer: asks, keeps what it pays for, and hands over what can be used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kernsmith_core::inspect::Look;
use kernsmith_core::model::{Inspected, ModelCall, PromptSection, Usage};
use kernsmith_core::port::{Answer, Halt, Note, PlanOccasion, PlanRequest};
use kernsmith_core::prompt::{Prompt, Question, tokens};
use kernsmith_core::{Brief, CallClass, Digest, Edit, Entry, Event, Proposal, Propose};
use kernsmith_search_config::LlmConfig;
use tokio::task::JoinSet;

use crate::answer;
use crate::ask::{OnRequest, Turn};
use crate::client::Called;
use crate::dialogue::{Check, Pending, Step, occasion, plain_family};
use crate::error::LlmError;
use crate::evidence::Inspect;
use crate::key::ApiKey;
use crate::memory::{Arm, Memory};
use crate::options::{Line, Options, Script};

/// Rounds at one place; whoever has failed so often is not asked there again.
const MAX_ROUNDS: usize = 1000;

/// Writes the words of a question within a budget of tokens.
pub type Render = Box<dyn Fn(&Question<'_>, u64) -> Prompt + Send + Sync>;

/// What candidates are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Duty {
    /// To be fast.
    #[default]
    Search,
    /// To break the harness.
    Audit,
}

/// Proposes through models.
///
/// **Invariant:** an answer is used only after it has come back through [`Propose::learn`]: what is not in the log was not said.
pub struct Llm {
    pub(crate) options: Options,
    line: Line,
    pub(crate) render: Render,
    /// Who answers requests for evidence, where somebody does.
    pub(crate) inspect: Option<Inspect>,
    /// What candidates are asked for.
    pub(crate) duty: Duty,
    pub(crate) axes: Vec<String>,
    pub(crate) memory: Memory,
    /// Questions under way, by place, and the tasks that ask them.
    flying: BTreeMap<String, Pending>,
    tasks: JoinSet<(String, Result<Called, LlmError>)>,
    /// Arms chosen for rounds that have no answer in the log yet.
    pub(crate) pins: BTreeMap<String, Arm>,
    /// Failed rounds that the engine has been told of.
    told: BTreeSet<String>,
    spent: Option<String>,
}

impl std::fmt::Debug for Llm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Llm").field("models", &self.options.models).finish_non_exhaustive()
    }
}

impl Llm {
    /// A proposer for a contract with these variable axes.
    ///
    /// # Errors
    ///
    /// Settings that are missing or make no sense, a budget that buys next to nothing, a cassette that cannot be used.
    pub fn new(config: &LlmConfig, key: ApiKey, axes: Vec<String>, render: Render) -> Result<Self, LlmError> {
        Self::over(Line::of(config, key)?, config, axes, render)
    }

    /// A proposer whose answers come from a function, for measurements of everything but a model.
    ///
    /// # Errors
    ///
    /// As [`Llm::new`].
    pub fn scripted(
        config: &LlmConfig,
        axes: Vec<String>,
        render: Render,
        script: Script,
    ) -> Result<Self, LlmError> {
        Self::over(Line::script(config, script)?, config, axes, render)
    }

    fn over(line: Line, config: &LlmConfig, axes: Vec<String>, render: Render) -> Result<Self, LlmError> {
        Ok(Self {
            options: Options::of(config)?,
            line,
            render,
            inspect: None,
            duty: Duty::default(),
            axes,
            memory: Memory::default(),
            flying: BTreeMap::new(),
            tasks: JoinSet::new(),
            pins: BTreeMap::new(),
            told: BTreeSet::new(),
            spent: None,
        })
    }

    /// Offers evidence on request.
    #[must_use]
    pub fn inspecting(mut self, inspect: Inspect) -> Self {
        self.inspect = Some(inspect);
        self
    }

    /// Asks for candidates that break the harness instead of fast ones: the auditor's role.
    #[must_use]
    pub fn auditing(mut self) -> Self {
        self.duty = Duty::Audit;
        if let Some(model) = self.options.auditor_model.clone() {
            self.options.models = vec![model];
        }
        self
    }

    /// Follows the rounds of a place until one needs a question, is settled, or has just failed.
    fn rounds<T>(&mut self, place: &str, mut step: impl FnMut(&mut Self, &str) -> Step<T>) -> Step<T> {
        for number in 0..MAX_ROUNDS {
            let round = format!("{place}/{number}");
            match step(self, &round) {
                Step::Failed(_) if self.told.contains(&round) => {}
                Step::Failed(problem) => {
                    self.told.insert(round);
                    return Step::Failed(problem);
                }
                other => return other,
            }
        }
        Step::Failed("asked too often".to_owned())
    }

    /// Sends a question unless it is under way or the budget cannot pay for it.
    fn start(&mut self, mut pending: Pending) {
        if self.flying.contains_key(&pending.place) {
            return;
        }
        self.look(&mut pending);
        if let Some(reason) = self.unaffordable(&pending) {
            // What is under way may turn out cheaper than the worst case; only then is it certain.
            self.spent = self.flying.is_empty().then_some(reason);
            return;
        }
        let (place, ask, line) = (pending.place.clone(), pending.ask.clone(), self.line.clone());
        let (role, purpose) = (pending.role, pending.purpose.clone());
        self.tasks.spawn(async move {
            let called = match &line {
                Line::Live(client, recorder) => {
                    let called = client.call(&ask).await;
                    let kept = recorder
                        .as_ref()
                        .map_or(Ok(()), |recorder| recorder.keep(ask.key(), role, &purpose, &called));
                    kept.map(|()| called)
                }
                Line::Script(script, recorder) => {
                    let called = Called::scripted(&ask, script(&ask));
                    let kept = recorder
                        .as_ref()
                        .map_or(Ok(()), |recorder| recorder.keep(ask.key(), role, &purpose, &called));
                    kept.map(|()| called)
                }
                Line::Replay(player) => {
                    let body = ask.body(crate::ask::Api::Chat, false, crate::ask::Dialect::default());
                    Ok(player.play(ask.key(), role, &purpose, body.to_string().into_bytes()))
                }
            };
            (place, called)
        });
        self.flying.insert(pending.place.clone(), pending);
    }

    /// Gets the evidence that a question wants, within what is left of its budget.
    fn look(&self, pending: &mut Pending) {
        let Some(inspect) = self.inspect.as_ref().filter(|_| !pending.wishes.is_empty()) else { return };
        let mut looks = Vec::new();
        for request in std::mem::take(&mut pending.wishes) {
            let text = if pending.left.calls == 0 || pending.left.bytes == 0 {
                "refused: the budget for evidence is used up".to_owned()
            } else {
                let found = inspect(&request).unwrap_or_else(|problem| format!("refused: {problem}"));
                pending.left.take(&found)
            };
            looks.push(Look { request, text });
        }
        if pending.left.is_spent() {
            pending.ask.evidence = OnRequest::Spent;
            if let Some(last) = looks.last_mut() {
                last.text.push_str("\n(This was the last evidence; answer now.)");
            }
        }
        let name = "Evidence".to_owned();
        let length = looks.iter().map(|look| tokens(&look.text)).sum();
        pending.sections.push(PromptSection { name, tokens: length, cut: 0 });
        pending.shown.clone_from(&looks);
        pending.ask.turns.push(Turn::Looked(looks));
    }

    /// Why the budget cannot pay for a question at worst: spent and committed count.
    fn unaffordable(&self, pending: &Pending) -> Option<String> {
        let worst = |pending: &Pending| {
            let prompt = pending.ask.tokens();
            let cost = self.options.worst_cost(&pending.ask.model, prompt);
            (prompt + u64::from(self.options.reply_tokens), cost)
        };
        let committed =
            self.flying.values().map(worst).fold((0, 0.0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
        let next = worst(pending);
        let spent = self.memory.usage.total() + self.memory.usage.unreported_tokens;
        let (tokens, usd) = (spent + committed.0 + next.0, self.memory.cost_usd + committed.1 + next.1);
        if self.options.budget_tokens > 0 && tokens > self.options.budget_tokens {
            return Some(format!(
                "{spent} of {} tokens are spent, which leaves too few",
                self.options.budget_tokens
            ));
        }
        if self.options.budget_usd > 0.0 && usd > self.options.budget_usd {
            let (spent, budget) = (self.memory.cost_usd, self.options.budget_usd);
            return Some(format!("{spent:.4} of {budget} US dollars are spent, which leaves too few"));
        }
        None
    }

    /// Waits for the first answer and writes it down.
    async fn next_note(&mut self) -> Result<Option<Note>, LlmError> {
        while let Some(joined) = self.tasks.join_next().await {
            let Ok((place, called)) = joined else {
                // A task that died has answered nothing: everything under way is asked again.
                self.tasks.abort_all();
                self.flying.clear();
                return Ok(None);
            };
            if let Some(pending) = self.flying.remove(&place) {
                return Ok(Some(self.note(&pending, called?)));
            }
        }
        Ok(None)
    }

    /// What the log is to hold of a call; an answer that cannot be used gets its own class here.
    fn note(&self, pending: &Pending, called: Called) -> Note {
        let (mut class, mut detail) = (called.class, called.detail);
        if class == CallClass::Answered {
            let reply = called.reply.as_deref().unwrap_or_default();
            if let Some(fault) = self.fault(pending, reply) {
                (class, detail) = fault;
            }
        }
        let request = Digest::of(&called.body);
        let reply = called.reply.map(String::into_bytes);
        let call = ModelCall {
            place: pending.place.clone(),
            key: pending.ask.key(),
            role: pending.role.to_owned(),
            purpose: pending.purpose.clone(),
            node: pending.node,
            model: pending.ask.model.clone(),
            request,
            sections: pending.sections.clone(),
            reply: reply.as_deref().map(Digest::of),
            class,
            detail,
            tries: called.tries,
            usage: called.usage,
            cost_usd: self.options.prices.cost_usd(&pending.ask.model, &called.usage),
            wall_ms: called.wall_ms,
            inspected: pending.shown.iter().map(inspected).collect(),
        };
        let shown = pending.shown.iter().map(|look| look.text.clone().into_bytes());
        let blobs = std::iter::once(called.body).chain(reply).chain(shown).collect();
        Note { event: Event::ModelCalled(Box::new(call)), blobs }
    }

    /// Why an answer is none, where it is none.
    fn fault(&self, pending: &Pending, reply: &str) -> Option<answer::Fault> {
        if let Some(requests) = answer::read_requests(reply) {
            let names: Vec<&str> = requests.iter().map(|request| request.tool.as_str()).collect();
            return Some(match pending.ask.evidence {
                OnRequest::Offered => (CallClass::Inspects, names.join(", ")),
                OnRequest::Spent | OnRequest::No => {
                    (CallClass::Unreadable, "no further evidence can be had; answer the question".to_owned())
                }
            });
        }
        match &pending.check {
            Check::Code { base } => answer::read_code(reply, base, &self.axes).err(),
            Check::Edits { nodes } => answer::read_edits(reply, *nodes).err(),
            Check::Review => answer::read_review(reply).err(),
            Check::Advice => answer::read_advice(reply).err(),
        }
    }

    fn plan_step(&mut self, request: &PlanRequest) -> Step<Vec<Edit>> {
        if !self.options.plan {
            let start = request.occasion == PlanOccasion::Start;
            return Step::Done(if start { vec![plain_family()] } else { Vec::new() });
        }
        let place = format!(
            "plan/{}/{}/{}/{}",
            occasion(request.occasion),
            self.memory.edited,
            self.memory.proposed,
            request.refused.len()
        );
        let step = self.rounds(&place, |this, round| this.plan_round(request, round));
        let failed = self.told.iter().filter(|round| round.starts_with(&format!("{place}/"))).count();
        match (step, self.fallback(request, failed)) {
            (Step::Failed(_) | Step::Ask(_), Some(edits)) => Step::Done(edits),
            (step, _) => step,
        }
    }

    fn code_step(&mut self, brief: &Brief) -> Step<Proposal> {
        let place = format!("code/{}/{}", brief.ordinal, brief.strategy.node);
        self.rounds(&place, |this, round| this.code_round(brief, round))
    }
}

impl Propose for Llm {
    type Error = LlmError;

    fn name(&self) -> &'static str {
        "llm"
    }

    async fn plan(&mut self, request: &PlanRequest) -> Result<Answer<Vec<Edit>>, LlmError> {
        match self.plan_step(request) {
            Step::Done(edits) if edits.is_empty() => Ok(Answer::Nothing),
            Step::Done(edits) => Ok(Answer::Ready(edits)),
            Step::Failed(problem) => Ok(Answer::Missed(problem)),
            Step::Ask(pending) => {
                self.start(*pending);
                match &self.spent {
                    Some(reason) => Ok(Answer::Missed(reason.clone())),
                    None => Ok(Answer::Noted(self.next_note().await?.into_iter().collect())),
                }
            }
        }
    }

    async fn propose(&mut self, brief: &Brief) -> Result<Answer<Proposal>, LlmError> {
        let mut briefs = [brief.clone()];
        let mut answers = self.propose_all(&mut briefs).await?;
        Ok(answers.pop().unwrap_or(Answer::Nothing))
    }

    /// All briefs are worked on at once; as soon as anything is settled or paid, the engine hears of it.
    async fn propose_all(&mut self, briefs: &mut [Brief]) -> Result<Vec<Answer<Proposal>>, LlmError> {
        let mut answers = Vec::with_capacity(briefs.len());
        let mut waiting = 0;
        for brief in briefs.iter() {
            answers.push(match self.code_step(brief) {
                Step::Done(proposal) => Answer::Ready(proposal),
                Step::Failed(problem) => Answer::Missed(problem),
                Step::Ask(pending) => {
                    self.start(*pending);
                    if let Some(reason) = &self.spent {
                        Answer::Missed(reason.clone())
                    } else {
                        waiting += 1;
                        Answer::Noted(Vec::new())
                    }
                }
            });
        }
        if waiting < briefs.len() || waiting == 0 {
            return Ok(answers);
        }
        let note = self.next_note().await?;
        if let Some(first) = answers.first_mut() {
            *first = Answer::Noted(note.into_iter().collect());
        }
        Ok(answers)
    }

    fn learn(&mut self, entry: &Entry, kept: &dyn Fn(&Digest) -> Option<Vec<u8>>) {
        self.memory.learn(entry, kept);
        if let Event::Proposed(_) = entry.event {
            // Rounds that came to a proposal are over.
            self.pins.clear();
        }
    }

    fn reads(&self) -> bool {
        true
    }

    fn abandon(&mut self) -> Vec<Note> {
        self.tasks.abort_all();
        self.tasks = JoinSet::new();
        let flying = std::mem::take(&mut self.flying);
        let given_up = |pending: &Pending| {
            let body = pending.ask.body(crate::ask::Api::Chat, false, crate::ask::Dialect::default());
            let called = Called {
                class: CallClass::Abandoned,
                detail: "the search ended first".to_owned(),
                reply: None,
                body: body.to_string().into_bytes(),
                tries: Vec::new(),
                usage: Usage { unreported_tokens: pending.ask.tokens(), ..Usage::default() },
                wall_ms: 0.0,
            };
            self.note(pending, called)
        };
        flying.values().map(given_up).collect()
    }

    fn halted(&self) -> Option<Halt> {
        if let Some(reason) = &self.spent {
            return Some(Halt::Spent(reason.clone()));
        }
        if let Some(reason) = &self.memory.hopeless {
            return Some(Halt::Unreachable(reason.clone()));
        }
        (self.memory.barren_calls() >= self.options.give_up_calls).then(|| {
            let classes: Vec<String> =
                self.memory.barren.iter().map(|(class, count)| format!("{class} {count}")).collect();
            Halt::Unreachable(format!(
                "no usable answer in {} calls: {}",
                self.memory.barren_calls(),
                classes.join(", ")
            ))
        })
    }
}

fn inspected(look: &Look) -> Inspected {
    let shown = Digest::of(look.text.as_bytes());
    Inspected { request: look.request.clone(), shown, bytes: look.text.len() as u64 }
}

/// So that a proposer can be shared with a task; asserted here, not found out elsewhere.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Llm>();
    is_send::<Arc<Line>>();
};

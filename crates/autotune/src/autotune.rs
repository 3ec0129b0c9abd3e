//! The proposer itself.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kernsmith_core::brief::Trial;
use kernsmith_core::port::{PlanOccasion, PlanRequest};
use kernsmith_core::{
    Answer, Brief, Candidate, Digest, Edit, Genome, Origin, Prediction, Proposal, Propose, Seq,
};
use kernsmith_op_contract::Contract;
use kernsmith_skill::{Machine, RenderContext, Skills, Template};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use crate::context::render_context;
use crate::error::AutotuneError;
use crate::experience::{Experience, Inexperienced};
use crate::optimizer::{Observation, Operator, OptimizerOptions, Request, Suggestion};
use crate::plan;
use crate::space::{Point, fits};
use crate::species::Species;

/// The name that stands in the log as author and proposer.
pub(crate) const NAME: &str = "autotune";
/// Half a 90 % interval in standard deviations.
const Z90: f64 = 1.645;
/// The model's own doubt is never believed to be less than this (log scale): timing noise and what features do not say.
const MIN_DEVIATION: f64 = 0.03;
/// The best genomes of earlier searches are measured again, so that one of them can lead this one; so many of each template.
const KNOWN_AGAIN: usize = 8;
/// Suggestions that turn out to be candidates which failed in an earlier search, before a strategy is given up.
const MAX_REPEATS: usize = 64;

/// How the embedded proposer works.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AutotuneOptions {
    /// How genomes are chosen.
    pub optimizer: OptimizerOptions,
}

/// Proposes genomes of the templates that fit one contract on one machine.
#[derive(Debug, Clone)]
pub struct Autotune {
    context: RenderContext,
    machine: Machine,
    species: Vec<Species>,
    options: AutotuneOptions,
    experience: Arc<dyn Experience>,
}

impl Autotune {
    /// A proposer with every template that the skills have for the contract on this machine; it may have none.
    pub fn new(contract: &Contract, skills: &Skills, machine: Machine, options: AutotuneOptions) -> Self {
        let context = render_context(contract);
        let templates = skills.templates_for(&context, &machine);
        Self::with_templates(context, templates, machine, options)
    }

    /// A proposer with the given templates, cut to `machine`.
    pub fn with_templates(
        context: RenderContext,
        templates: Vec<Template>,
        machine: Machine,
        options: AutotuneOptions,
    ) -> Self {
        let species = templates.into_iter().map(Species::new).collect();
        Self { context, machine, species, options, experience: Arc::new(Inexperienced) }
    }

    /// The same with what earlier searches teach: what failed there is not proposed again, what was fast comes first.
    #[must_use]
    pub fn with_experience(self, experience: Arc<dyn Experience>) -> Self {
        let species = self.species.into_iter().map(|species| Species::new(species.template)).collect();
        Self { species, experience, ..self }
    }

    /// The key of the candidate that a genome makes now; `None` where the template does not know or refuses it.
    pub fn key_of(&self, template: &str, genome: &Genome) -> Option<Digest> {
        let species = self.species.iter().find(|species| species.template.id() == template)?;
        species.point(genome).filter(|_| species.template.is_legal(genome))?;
        let rendered = species.template.render(genome, &self.context).ok()?;
        let language = species.template.language;
        let proposal = Proposal { language, ..Proposal::by_user(rendered.source, rendered.plan) };
        Some(self.key(proposal))
    }

    fn key(&self, proposal: Proposal) -> Digest {
        Candidate::new(&self.context.contract, &self.machine.target, proposal).key
    }

    /// The templates in order of preference.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.species.iter().map(|species| &species.template)
    }

    /// The edits for a request.
    pub fn edits(&mut self, request: &PlanRequest) -> Vec<Edit> {
        // A script that was refused would be written the same way again.
        if !request.refused.is_empty() {
            return Vec::new();
        }
        if request.occasion == PlanOccasion::Stagnation {
            let sizes = self.sizes();
            return plan::reopen(request, &sizes);
        }
        let templates: Vec<&Template> = self.templates().collect();
        match request.occasion {
            PlanOccasion::Start => plan::start(&templates, &self.machine, &*self.experience),
            _ => plan::refine(request, &templates),
        }
    }

    /// Legal genomes by template, where they are few enough to be counted.
    fn sizes(&mut self) -> BTreeMap<String, Option<usize>> {
        let options = self.options.optimizer.clone();
        let experience = &self.experience;
        let size = |species: &mut Species| {
            let listed = species.optimizer(&options, experience).space().listed().map(<[Point]>::len);
            (species.template.id(), listed)
        };
        self.species.iter_mut().map(size).collect()
    }

    /// A variant of a source that somebody else wrote for the brief's strategy and marked with `//@tune NAME in [..]`.
    ///
    /// The brief must carry sources. `None` where nothing is marked or nothing untried is left.
    pub fn marked_variant(&self, brief: &Brief) -> Option<Proposal> {
        crate::marked::variant(brief, &self.options.optimizer)
    }

    /// One candidate for the brief's strategy.
    pub fn candidate(&mut self, brief: &Brief) -> Result<Option<Proposal>, AutotuneError> {
        let Some(template) = &brief.strategy.template else { return Ok(None) };
        let Some(species) = self.species.iter_mut().find(|species| species.template.id() == *template) else {
            return Ok(None);
        };
        let Some(fixed) = species.fixed(&brief.strategy.fixed) else { return Ok(None) };
        let mut known = Known::new(species, brief, &self.experience.outcomes(template));
        let mut random = ChaCha12Rng::seed_from_u64(brief.seed);
        random.set_stream(brief.ordinal);
        for _ in 0..MAX_REPEATS {
            let first = known.first(species, &fixed);
            let request = Request {
                history: &known.history,
                taken: &known.taken,
                fixed: &fixed,
                first: first.as_ref(),
            };
            let optimizer = species.optimizer(&self.options.optimizer, &self.experience);
            let Some(suggestion) = optimizer.suggest(&request, &mut random) else { return Ok(None) };
            let proposal = known.proposal(species, &self.context, brief, &suggestion)?;
            let key = Candidate::new(&self.context.contract, &self.machine.target, proposal.clone()).key;
            if !self.experience.failed(&key) {
                return Ok(Some(proposal));
            }
            // Other genes make the very candidate that failed before.
            known.taken.insert(suggestion.point);
        }
        Ok(None)
    }
}

impl Propose for Autotune {
    type Error = AutotuneError;

    fn name(&self) -> &str {
        NAME
    }

    async fn plan(&mut self, request: &PlanRequest) -> Result<Answer<Vec<Edit>>, Self::Error> {
        Ok(Some(self.edits(request)).filter(|edits| !edits.is_empty()).into())
    }

    async fn propose(&mut self, brief: &Brief) -> Result<Answer<Proposal>, Self::Error> {
        self.candidate(brief).map(Answer::from)
    }
}

/// What is known of one template, as points.
struct Known {
    /// Outcomes of this search, then those of earlier ones.
    history: Vec<Observation>,
    /// The entries of this search's outcomes.
    proposals: Vec<Seq>,
    taken: HashSet<Point>,
}

impl Known {
    fn new(species: &Species, brief: &Brief, earlier: &[(Genome, Option<f64>)]) -> Self {
        let judged: Vec<(Point, &Trial)> =
            brief.trials.iter().filter_map(|trial| Some((species.point(&trial.genome)?, trial))).collect();
        let observed = |(point, trial): &(Point, &Trial)| Observation {
            point: point.clone(),
            value: trial.ratio.map(f64::ln),
        };
        let tried = brief.tried.iter().filter_map(|genome| species.point(genome));
        let mut known = Self {
            history: judged.iter().map(observed).collect(),
            proposals: judged.iter().map(|(_, trial)| trial.proposal).collect(),
            taken: tried.chain(judged.iter().map(|(point, _)| point.clone())).collect(),
        };
        known.recall(species, earlier);
        known
    }

    /// Adds the outcomes of earlier searches that this one has not measured itself.
    fn recall(&mut self, species: &Species, earlier: &[(Genome, Option<f64>)]) {
        let own: HashSet<Point> = self.history.iter().map(|seen| seen.point.clone()).collect();
        let mut recalled: Vec<Observation> = earlier
            .iter()
            .filter_map(|(genome, ratio)| {
                Some(Observation { point: species.point(genome)?, value: ratio.map(f64::ln) })
            })
            .filter(|seen| !own.contains(&seen.point))
            .collect();
        recalled.sort_by(|a, b| value(b).total_cmp(&value(a)));
        let passed = recalled.iter().filter(|seen| seen.value.is_some()).count();
        self.taken.extend(recalled.iter().skip(passed.min(KNOWN_AGAIN)).map(|seen| seen.point.clone()));
        self.history.extend(recalled);
    }

    /// The first guess under the fixed choices: the best genome known there, else the best known elsewhere, moved here, else
    /// the template's own.
    fn first(&self, species: &Species, fixed: &[Option<u16>]) -> Option<Point> {
        if self.history[..self.proposals.len()].iter().any(|seen| fits(&seen.point, fixed)) {
            return None;
        }
        let passed = || self.history.iter().filter(|seen| seen.value.is_some());
        let best = |a: &&Observation, b: &&Observation| value(a).total_cmp(&value(b));
        let here = passed().filter(|seen| fits(&seen.point, fixed)).max_by(best);
        let origin = match here.or_else(|| passed().max_by(best)) {
            Some(best) => best.point.clone(),
            None => species.point(&species.template.default_genome())?,
        };
        Some(origin.iter().zip(fixed).map(|(own, fixed)| fixed.unwrap_or(*own)).collect())
    }

    fn proposal(
        &self,
        species: &Species,
        context: &RenderContext,
        brief: &Brief,
        suggestion: &Suggestion,
    ) -> Result<Proposal, AutotuneError> {
        let genome = species.genome(&suggestion.point);
        let rendered = species
            .template
            .render(&genome, context)
            .map_err(|error| AutotuneError::Render(Box::new(error)))?;
        let prediction = self.prediction(suggestion, brief.strategy.predicted);
        Ok(Proposal {
            node: brief.strategy.node,
            language: species.template.language,
            source: rendered.source,
            plan: rendered.plan,
            rationale: rationale(suggestion, &prediction, self.parents(suggestion).first()),
            prediction: Some(prediction),
            origin: Origin {
                proposer: NAME.to_owned(),
                operator: suggestion.operator.as_str().to_owned(),
                parents: self.parents(suggestion),
                template: Some(species.template.id()),
                genome,
            },
        })
    }

    fn parents(&self, suggestion: &Suggestion) -> Vec<Seq> {
        suggestion.parents.iter().filter_map(|&at| self.proposals.get(at).copied()).collect()
    }

    /// The model's expectation where there is one, a child's from its first parent, else the strategy's.
    fn prediction(&self, suggestion: &Suggestion, strategy: Prediction) -> Prediction {
        let parent = suggestion.parents.first().and_then(|&at| self.history.get(at)?.value);
        match (suggestion.expected, suggestion.operator, parent) {
            (Some((mean, deviation)), _, _) => interval(mean, deviation),
            (None, Operator::Mutate | Operator::Crossover, Some(parent)) => interval(parent - 0.05, 0.15),
            _ => strategy,
        }
    }
}

fn value(seen: &Observation) -> f64 {
    seen.value.unwrap_or(f64::MIN)
}

pub(crate) fn interval(mean: f64, deviation: f64) -> Prediction {
    let half = Z90 * deviation.max(MIN_DEVIATION);
    Prediction { ratio: mean.exp(), low: (mean - half).exp(), high: (mean + half).exp() }
}

fn rationale(suggestion: &Suggestion, prediction: &Prediction, parent: Option<&Seq>) -> String {
    let from = parent.map(|parent| format!(" of {parent}")).unwrap_or_default();
    match suggestion.operator {
        Operator::Seed => "The first guess of this strategy.".to_owned(),
        Operator::Sample => "Far from everything that was tried.".to_owned(),
        Operator::Model => format!(
            "What was tried suggests {:.2}x ({:.2}x to {:.2}x) here.",
            prediction.ratio, prediction.low, prediction.high
        ),
        Operator::Mutate => format!("A neighbour{from}."),
        Operator::Crossover => format!("Genes{from} mixed with those of another elite."),
    }
}

//! Genes that somebody else's source marks as tunable: `constexpr int LANES = 8;  //@tune LANES in [4, 8, 16]`.
//!
//! Whoever writes structure leaves its numbers to the autotuner. Sources that differ only in marked numbers share one space.

use std::collections::HashSet;

use kernsmith_core::brief::Attempt;
use kernsmith_core::{Brief, Digest, GeneValue, Genome, Language, Origin, Proposal};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use crate::autotune::{NAME, interval};
use crate::optimizer::{Observation, Optimizer, OptimizerOptions, Request};
use crate::space::{Dimension, Point, Space, Values};

/// What begins a mark.
const MARK: &str = "//@tune ";
/// Prefix of the template name under which variants of one marked source stand in the log.
pub(crate) const MARKED: &str = "marked/";
/// Values of one gene, and genes of one source, at most.
const MAX_VALUES: usize = 64;
const MAX_GENES: usize = 12;
/// Variants of one source, at most: a few for each gene.
const VARIANTS_PER_GENE: usize = 6;
/// A neighbour's doubt, on the logarithmic scale.
const DOUBT: f64 = 0.1;

/// One marked number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gene {
    name: String,
    values: Vec<i64>,
    /// Place of the number in the source.
    number: std::ops::Range<usize>,
    current: i64,
}

/// A source with marks.
#[derive(Debug, Clone)]
struct Marked<'a> {
    source: &'a str,
    genes: Vec<Gene>,
}

impl<'a> Marked<'a> {
    /// Reads the marks; one that does not fit its line is left alone. `None` where none fits.
    fn read(source: &'a str) -> Option<Self> {
        let mut genes: Vec<Gene> = Vec::new();
        let mut start = 0;
        for line in source.split_inclusive('\n') {
            if let Some(gene) = gene(line, start)
                && genes.len() < MAX_GENES
                && genes.iter().all(|known| known.name != gene.name)
            {
                genes.push(gene);
            }
            start += line.len();
        }
        (!genes.is_empty()).then_some(Self { source, genes })
    }

    fn genome(&self) -> Genome {
        self.genes.iter().map(|gene| (gene.name.clone(), GeneValue::Int(gene.current))).collect()
    }

    /// The source with other numbers.
    fn with(&self, genome: &Genome) -> String {
        let mut source = self.source.to_owned();
        for gene in self.genes.iter().rev() {
            if let Some(value) = genome.get(&gene.name) {
                source.replace_range(gene.number.clone(), &value.to_string());
            }
        }
        source
    }

    /// The name of the space: the source without its marked numbers.
    fn template(&self) -> String {
        let names = self.genes.iter().map(|gene| (gene.name.clone(), GeneValue::Text(gene.name.clone())));
        let skeleton = kernsmith_core::candidate::normalise(&self.with(&names.collect()));
        format!("{MARKED}{}", Digest::of(skeleton.as_bytes()).short())
    }

    fn space(&self) -> Space {
        let dimension = |gene: &Gene| Dimension {
            name: gene.name.clone(),
            values: Values::Ordered(gene.values.iter().map(|value| *value as f64).collect()),
        };
        Space::new(self.genes.iter().map(dimension).collect(), |_| true)
    }

    fn point(&self, genome: &Genome) -> Option<Point> {
        let index = |gene: &Gene| {
            let GeneValue::Int(value) = genome.get(&gene.name)? else { return None };
            gene.values.iter().position(|known| known == value).map(|at| at as u16)
        };
        self.genes.iter().map(index).collect()
    }

    fn genome_at(&self, point: &[u16]) -> Genome {
        let value = |(gene, at): (&Gene, &u16)| {
            Some((gene.name.clone(), GeneValue::Int(*gene.values.get(usize::from(*at))?)))
        };
        self.genes.iter().zip(point).filter_map(value).collect()
    }
}

/// The gene that a line marks: `NAME = number` before the mark, a list of numbers with that one among them behind it.
fn gene(line: &str, start: usize) -> Option<Gene> {
    let (code, mark) = line.split_once(MARK)?;
    let (name, list) = mark.split_once(" in ")?;
    let name = name.trim();
    let list = list.trim().strip_prefix('[')?.split_once(']')?.0;
    let mut values: Vec<i64> =
        list.split(',').map(|value| value.trim().parse().ok()).collect::<Option<_>>()?;
    values.sort_unstable();
    values.dedup();
    let assigned = code.find(&format!("{name} = "))? + name.len() + 3;
    let digits =
        code[assigned..].find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(code.len() - assigned);
    let number = start + assigned..start + assigned + digits;
    let current = code[assigned..assigned + digits].parse().ok()?;
    let fits = (2..=MAX_VALUES).contains(&values.len()) && values.contains(&current);
    fits.then(|| Gene { name: name.to_owned(), values, number, current })
}

/// A variant of the best marked source of the brief's strategy; `None` where nothing is marked or nothing untried is left.
pub(crate) fn variant(brief: &Brief, options: &OptimizerOptions) -> Option<Proposal> {
    let details = brief.details.as_deref()?;
    let here = brief.elites.iter().filter(|attempt| attempt.node == brief.strategy.node);
    let (base, marked) = here.into_iter().find_map(|attempt| {
        let source = &details.attempts.get(&attempt.proposal)?.source;
        Some((attempt, Marked::read(source)?))
    })?;
    let template = marked.template();
    let genome = |attempt: &Attempt| {
        let same = attempt.template.as_deref() == Some(&template);
        let own = || {
            Marked::read(&details.attempts.get(&attempt.proposal)?.source)
                .filter(|m| m.template() == template)
        };
        if same { Some(attempt.genome.clone()) } else { own().map(|marked| marked.genome()) }
    };
    let judged: Vec<(Point, Option<f64>)> = brief
        .elites
        .iter()
        .chain(&brief.failures)
        .filter_map(|attempt| Some((marked.point(&genome(attempt)?)?, attempt.ratio.map(f64::ln))))
        .collect();
    if judged.len() > VARIANTS_PER_GENE * marked.genes.len() {
        return None;
    }
    let taken: HashSet<Point> = judged.iter().map(|(point, _)| point.clone()).collect();
    let history: Vec<Observation> =
        judged.into_iter().map(|(point, value)| Observation { point, value }).collect();
    let fixed = vec![None; marked.genes.len()];
    let mut random = ChaCha12Rng::seed_from_u64(brief.seed);
    random.set_stream(brief.ordinal);
    let request = Request { history: &history, taken: &taken, fixed: &fixed, first: None };
    let suggestion = Optimizer::new(marked.space(), options.clone()).suggest(&request, &mut random)?;
    let genome = marked.genome_at(&suggestion.point);
    let (mean, doubt) = suggestion.expected.unwrap_or((base.ratio.unwrap_or(1.0).ln(), DOUBT));
    Some(Proposal {
        node: brief.strategy.node,
        language: Language::Cpp,
        source: marked.with(&genome),
        plan: details.attempts.get(&base.proposal)?.plan.clone(),
        rationale: format!("Other numbers in {}.", base.proposal),
        prediction: Some(interval(mean, doubt)),
        origin: Origin {
            proposer: NAME.to_owned(),
            operator: "tune".to_owned(),
            parents: vec![base.proposal],
            template: Some(template),
            genome,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "constexpr int LANES = 8;  //@tune LANES in [4, 8, 16]\n\
                          constexpr int AHEAD = 2; //@tune AHEAD in [1, 2]\nint x; //@tune Y in [1, 2]\n";

    #[test]
    fn marked_numbers_are_read_and_written() {
        let marked = Marked::read(SOURCE).unwrap();
        assert_eq!(marked.genes.len(), 2, "a mark without a number is left alone");
        let genome = marked.genome_at(&[2, 0]);
        let other = marked.with(&genome);
        assert!(other.contains("LANES = 16;") && other.contains("AHEAD = 1;"), "{other}");
        let again = Marked::read(&other).unwrap();
        assert_eq!(
            again.template(),
            marked.template(),
            "sources that differ in marked numbers share a space"
        );
        assert_eq!(again.point(&again.genome()), Some(vec![2, 0]));
        assert!(Marked::read("int x;").is_none());
    }
}

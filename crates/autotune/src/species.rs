//! One template as a space of choices.

use std::sync::Arc;

use kernsmith_core::{GeneValue, Genome};
use kernsmith_skill::{Gene, Template};

use crate::experience::Experience;
use crate::optimizer::{Optimizer, OptimizerOptions};
use crate::space::{Dimension, Point, Space, Values};

/// One template as a space of choices.
#[derive(Debug, Clone)]
pub(crate) struct Species {
    pub(crate) template: Template,
    /// Made when it is first needed: listing a space takes a moment.
    optimizer: Option<Optimizer>,
}

impl Species {
    pub(crate) const fn new(template: Template) -> Self {
        Self { template, optimizer: None }
    }

    /// The optimizer over every legal genome that experience does not refuse.
    pub(crate) fn optimizer(
        &mut self,
        options: &OptimizerOptions,
        experience: &Arc<dyn Experience>,
    ) -> &Optimizer {
        let template = &self.template;
        self.optimizer
            .get_or_insert_with(|| Optimizer::new(space(template, experience.clone()), options.clone()))
    }

    /// The genome as a point; `None` when it has other genes or values.
    pub(crate) fn point(&self, genome: &Genome) -> Option<Point> {
        self.template.genes.iter().map(|gene| index(gene, genome.get(&gene.name)?)).collect()
    }

    pub(crate) fn genome(&self, point: &[u16]) -> Genome {
        genome(&self.template.genes, point)
    }

    /// The fixed genes as choices; `None` when one of them is not possible on this machine.
    pub(crate) fn fixed(&self, fixed: &Genome) -> Option<Vec<Option<u16>>> {
        let choice = |gene: &Gene| match fixed.get(&gene.name) {
            None => Some(None),
            Some(value) => index(gene, value).map(Some),
        };
        self.template.genes.iter().map(choice).collect()
    }
}

fn index(gene: &Gene, value: &GeneValue) -> Option<u16> {
    gene.values.iter().position(|known| known == value).map(|at| at as u16)
}

fn genome(genes: &[Gene], point: &[u16]) -> Genome {
    let value =
        |(gene, at): (&Gene, &u16)| Some((gene.name.clone(), gene.values.get(usize::from(*at))?.clone()));
    genes.iter().zip(point).filter_map(value).collect()
}

fn space(template: &Template, experience: Arc<dyn Experience>) -> Space {
    let dimensions =
        template.genes.iter().map(|gene| Dimension { name: gene.name.clone(), values: values(gene) });
    let (checker, id) = (template.clone(), template.id());
    Space::new(dimensions.collect(), move |point| {
        let genome = genome(&checker.genes, point);
        checker.is_legal(&genome) && experience.refuses(&id, &genome).is_none()
    })
}

fn values(gene: &Gene) -> Values {
    let numbers = gene.values.iter().map(|value| match value {
        GeneValue::Int(number) => Some(*number as f64),
        GeneValue::Text(_) => None,
    });
    match numbers.collect::<Option<Vec<f64>>>() {
        Some(numbers) => Values::Ordered(numbers),
        None => Values::Categorical(gene.values.len()),
    }
}

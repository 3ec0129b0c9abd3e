//! Nothing becomes champion without a second, fresh judgement.

use kernsmith_core::port::{Evaluate, Propose, Record};
use kernsmith_core::{Event, Lane, Seq};

use crate::error::EngineError;
use crate::observe::Observe;
use crate::run::Engine;

/// Contenders that are confirmed at the end, at most: each costs a build and a long measurement.
const FINAL_CONTENDERS: usize = 3;

impl<P: Propose, E: Evaluate + 'static, R: Record, O: Observe> Engine<P, E, R, O> {
    /// Confirms a contender and promotes it when the lower bound of its confirmed ratio beats the baseline and the
    /// champion's lower bound: a disturbed measurement with a wide interval takes nobody's place.
    pub(crate) async fn confirm(&mut self, seq: Seq) -> Result<(), EngineError> {
        self.observer.busy(&format!("confirming {seq}"));
        let champion = self.tree.champion().map_or(1.0, |champion| champion.ci_low);
        let started = self.clock.wall_seconds();
        let evidence = self.rejudge(seq, Lane::Confirm).await?;
        self.confirm_cost.took(self.clock.wall_seconds() - started);
        self.observer.busy("");
        let Some(confirmation) = self.tree.last_judged() else { return Ok(()) };
        let Some(performance) = evidence.and_then(|evidence| evidence.performance) else { return Ok(()) };
        let beats_noise = performance.ci_low > performance.noise_floor.max(1.0);
        if beats_noise && performance.ci_low > champion {
            let (ratio, ci_low, ci_high) = (performance.ratio, performance.ci_low, performance.ci_high);
            self.record(vec![Event::Promoted { proposal: seq, confirmation, ratio, ci_low, ci_high }])
                .await?;
        }
        Ok(())
    }

    /// At the end: the best candidates that look better than the champion get their chance, as long as the time lasts. It
    /// was kept back for one of them.
    pub(crate) async fn confirm_contenders(&mut self) -> Result<(), EngineError> {
        for turn in 0..FINAL_CONTENDERS {
            if turn > 0 && !self.clock.lasts(&self.config.budget, self.confirm_cost.last_seconds()) {
                return Ok(());
            }
            let Some(contender) = self.tree.contender(1.0) else { return Ok(()) };
            let before = self.tree.champion().map(|champion| champion.proposal);
            self.confirm(contender.proposal).await?;
            let promoted = self.tree.champion().map(|champion| champion.proposal) != before;
            if promoted {
                return Ok(());
            }
        }
        Ok(())
    }
}

//! Asks the proposer, and keeps what it notes on the way.

use std::future::Future;

use kernsmith_brief::{BriefBuilder, Sources};
use kernsmith_core::port::{Answer, Evaluate, Note, PlanRequest, Propose, Record};
use kernsmith_core::{Brief, Digest, Edit, NodeId, Proposal};

use crate::error::EngineError;
use crate::observe::Observe;
use crate::run::Engine;

impl<P: Propose, E: Evaluate + 'static, R: Record, O: Observe> Engine<P, E, R, O> {
    /// At most one proposal a strategy; a strategy that has nothing untried left is closed.
    pub(crate) async fn ask(&mut self, nodes: &[NodeId]) -> Result<Vec<Proposal>, EngineError> {
        let mut briefs = self.briefs(nodes);
        let mut proposals: Vec<(u64, Proposal)> = Vec::new();
        while !briefs.is_empty() {
            let patience = self.patience();
            let Some(answers) = unless(self.proposer.propose_all(&mut briefs), patience).await else {
                self.give_up().await?;
                break;
            };
            let answers = answers.map_err(|source| self.propose_error(source))?;
            let mut open = Vec::new();
            for (brief, answer) in briefs.drain(..).zip(answers) {
                match answer {
                    Answer::Ready(proposal) => proposals.push((brief.ordinal, proposal)),
                    Answer::Nothing => {
                        let closure = Self::closure(brief.strategy.node, "nothing untried is left");
                        self.record(vec![closure]).await?;
                    }
                    Answer::Noted(found) => {
                        self.keep_notes(found).await?;
                        open.push(brief);
                    }
                    Answer::Missed(_) => {}
                }
            }
            briefs = open;
        }
        proposals.sort_by_key(|(ordinal, _)| *ordinal);
        Ok(proposals.into_iter().map(|(_, proposal)| proposal).collect())
    }

    /// One answer to a plan request, after everything that was noted on the way is durable.
    pub(crate) async fn ask_for_plan(
        &mut self,
        request: &PlanRequest,
    ) -> Result<Answer<Vec<Edit>>, EngineError> {
        loop {
            let patience = self.patience();
            let Some(answer) = unless(self.proposer.plan(request), patience).await else {
                self.give_up().await?;
                return Ok(Answer::Missed("the search ends".to_owned()));
            };
            match answer.map_err(|source| self.propose_error(source))? {
                Answer::Noted(notes) => self.keep_notes(notes).await?,
                Answer::Ready(edits) if edits.is_empty() => return Ok(Answer::Nothing),
                answer => return Ok(answer),
            }
        }
    }

    fn briefs(&self, nodes: &[NodeId]) -> Vec<Brief> {
        let builder = BriefBuilder::new(&self.tree, &self.contract);
        let brief = |(offset, node): (usize, &NodeId)| {
            let ordinal = self.tree.counts().proposed + offset as u64;
            let mut brief = builder.build(*node, ordinal, self.seed);
            if self.proposer.reads() {
                let (kept, entry) =
                    (|blob: &Digest| self.recorder.kept(blob).ok(), |seq| self.recorder.entry(seq).ok());
                let sources = Sources { kept: &kept, entry: &entry };
                let details = self.dossier.for_brief(&brief, &self.tree, &self.contract, sources);
                brief.details = Some(Box::new(details));
            }
            brief
        };
        nodes.iter().enumerate().map(brief).collect()
    }

    async fn keep_notes(&mut self, notes: Vec<Note>) -> Result<(), EngineError> {
        let mut events = Vec::with_capacity(notes.len());
        for note in notes {
            for blob in &note.blobs {
                self.recorder.keep(blob).map_err(EngineError::record)?;
            }
            events.push(note.event);
        }
        if !events.is_empty() {
            self.record(events).await?;
        }
        Ok(())
    }

    /// The search ends while the proposer still waits for somebody: what that has cost so far is kept.
    async fn give_up(&mut self) -> Result<(), EngineError> {
        let notes = self.proposer.abandon();
        self.keep_notes(notes).await
    }

    /// Ends when the search should.
    fn patience(&self) -> impl Future<Output = ()> + Send + use<P, E, R, O> {
        let reserve = self.confirm_cost.reserve_seconds(self.config.search.final_seconds);
        let left = self.clock.left(&self.config.budget, reserve);
        let stop = self.stop.clone();
        async move {
            match left {
                Some(left) => tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    () = stop.wait() => {}
                },
                None => stop.wait().await,
            }
        }
    }

    fn propose_error(&self, source: P::Error) -> EngineError {
        EngineError::Propose { proposer: self.proposer.name().to_owned(), source: Box::new(source) }
    }
}

/// The work's result, unless the other one ends first; work that is ready at once always wins.
async fn unless<T>(work: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    tokio::select! {
        biased;
        result = work => Some(result),
        () = end => None,
    }
}

//! Time travel with experience: a new run that begins where an old one stood, and may know what the old one learned later.
//!
//! The history up to the point of the fork is taken over entry for entry, under the same numbers. With experience, later
//! proposals follow that had a conclusive outcome, with their judgements: measured facts stay facts. Three things are left
//! behind. Opinions: edits of the tree are what the fork is to decide anew, so that a proposal of a later node hangs on the
//! nearest node that was there already. Titles: a promotion and the confirmation that it rests on are not carried; what led
//! in the origin is a contender in the fork and is confirmed again. And accidents: what only the apparatus failed at.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use kernsmith_core::event::{Carried, ForkedFrom, LOG_FORMAT, Opened};
use kernsmith_core::{Digest, Edit, Entry, Event, Evidence, Lane, NodeId, Record, RunId, Seq};

use crate::error::run_name;
use crate::history::{Chain, Lines};
use crate::staging::Staging;
use crate::{LogError, RunReader, RunWriter, verify};

const GROUP: usize = 256;

/// A run that was forked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forked {
    /// Its folder.
    pub directory: PathBuf,
    /// Where it comes from.
    pub from: ForkedFrom,
    /// Its entries.
    pub entries: u64,
}

/// Makes the run `name` below `root` out of the run of `origin` as it stood after entry `seq`.
pub fn fork(
    root: &Path,
    origin: &Path,
    seq: Seq,
    name: &RunId,
    with_experience: bool,
) -> Result<Forked, LogError> {
    refuse_damaged(origin)?;
    let reader = RunReader::open(origin)?;
    if reader.opened().format > LOG_FORMAT {
        let (directory, found) = (origin.to_owned(), reader.opened().format);
        return Err(LogError::NewerFormat { directory, found, supported: LOG_FORMAT });
    }
    let digest = digest_of_line(origin, seq)?;
    let plan = Plan::new(&reader, seq, with_experience)?;
    let from = ForkedFrom { run: reader.opened().run_id.clone(), seq, digest, carried: plan.carried() };
    let staging = Staging::create(root, name)?;
    let mut writer = RunWriter::create(staging.root(), name)?;
    let opened = Opened { run_id: name.clone(), forked_from: Some(from.clone()), ..reader.opened().clone() };
    if let Some(memory) = &opened.memory {
        writer.keep(&reader.blob(&memory.digest)?)?;
    }
    let mut group = vec![Event::Opened(Box::new(opened))];
    for entry in reader.entries()?.skip(1) {
        let Some(event) = plan.event(entry?) else { continue };
        for digest in event.blobs() {
            writer.keep(&reader.blob(&digest)?)?;
        }
        group.push(event);
        if group.len() >= GROUP {
            writer.append_group(std::mem::take(&mut group))?;
        }
    }
    writer.append_group(group)?;
    let entries = writer.next_seq().0;
    drop(writer);
    Ok(Forked { directory: staging.publish(name)?, from, entries })
}

pub(crate) fn refuse_damaged(directory: &Path) -> Result<(), LogError> {
    let report = verify(directory)?;
    match report.damages.into_iter().find(|damage| !damage.recoverable) {
        Some(damage) => Err(LogError::damaged(directory, damage)),
        None => Ok(()),
    }
}

fn digest_of_line(directory: &Path, seq: Seq) -> Result<Digest, LogError> {
    let mut lines = Lines::open(directory)?;
    let mut chain = Chain::start();
    while lines.advance()? {
        let place = chain.next;
        // The whole run was verified before.
        let _ = chain.check(lines.bytes());
        if place == seq {
            return Ok(chain.last);
        }
    }
    let problem = format!("run {} has {} entries: there is no {seq}", run_name(directory), chain.next.0);
    Err(LogError::NotFound { problem })
}

/// What becomes of each entry of the origin.
struct Plan {
    seq: Seq,
    /// Later entries that are carried, with their new places.
    places: HashMap<Seq, Seq>,
    /// The same, in order.
    order: Vec<(Seq, Seq)>,
    /// For each node the nearest one that was there at the point of the fork.
    nodes: Vec<NodeId>,
}

impl Plan {
    fn new(reader: &RunReader, seq: Seq, with_experience: bool) -> Result<Self, LogError> {
        let mut plan = Self { seq, places: HashMap::new(), order: Vec::new(), nodes: vec![NodeId::ROOT] };
        if !with_experience {
            return Ok(plan);
        }
        let settled = settled_proposals(reader)?;
        let mut titles = HashSet::new();
        for entry in reader.entries()? {
            let entry = entry?;
            if let Event::TreeEdited { edits, .. } = &entry.event {
                plan.note_nodes(edits, entry.seq > seq, &mut titles);
            }
            if entry.seq <= seq {
                continue;
            }
            let known = |proposal: &Seq| *proposal <= seq || plan.places.contains_key(proposal);
            let carry = match &entry.event {
                Event::Proposed(_) => settled.contains(&entry.seq),
                Event::Deduplicated { proposal, of, .. } => known(proposal) && known(of),
                Event::Judged { proposal, evidence } => known(proposal) && teaches(evidence),
                _ => false,
            };
            if carry {
                let place = Seq(seq.0 + 1 + plan.order.len() as u64);
                plan.order.push((entry.seq, place));
                plan.places.insert(entry.seq, place);
            }
        }
        Ok(plan)
    }

    /// Ids are handed out in order of insertion, to inserts that fit.
    fn note_nodes(&mut self, edits: &[Edit], later: bool, titles: &mut HashSet<(NodeId, String)>) {
        for edit in edits {
            let Edit::Insert { parent, node } = edit else { continue };
            let Some(&above) = self.nodes.get(parent.0 as usize) else { continue };
            if titles.insert((*parent, node.title.clone())) {
                let own = NodeId(self.nodes.len() as u32);
                self.nodes.push(if later { above } else { own });
            }
        }
    }

    fn carried(&self) -> Vec<Carried> {
        let mut ranges: Vec<Carried> = Vec::new();
        for &(origin, first) in &self.order {
            match ranges.last_mut() {
                Some(range) if range.origin.0 + range.count == origin.0 => range.count += 1,
                _ => ranges.push(Carried { first, origin, count: 1 }),
            }
        }
        ranges
    }

    /// The entry's event as the fork has it.
    fn event(&self, entry: Entry) -> Option<Event> {
        if entry.seq <= self.seq {
            return Some(entry.event);
        }
        self.places.get(&entry.seq)?;
        match entry.event {
            Event::Proposed(mut proposed) => {
                proposed.node = self.nodes.get(proposed.node.0 as usize).copied().unwrap_or(NodeId::ROOT);
                let parents = std::mem::take(&mut proposed.origin.parents);
                proposed.origin.parents =
                    parents.into_iter().filter_map(|parent| self.place(parent)).collect();
                Some(Event::Proposed(proposed))
            }
            Event::Deduplicated { proposal, of, by } => {
                Some(Event::Deduplicated { proposal: self.place(proposal)?, of: self.place(of)?, by })
            }
            Event::Judged { proposal, evidence } => {
                Some(Event::Judged { proposal: self.place(proposal)?, evidence })
            }
            _ => None,
        }
    }

    fn place(&self, seq: Seq) -> Option<Seq> {
        if seq <= self.seq { Some(seq) } else { self.places.get(&seq).copied() }
    }
}

/// Whether a judgement is carried: failures of the apparatus say nothing, and a passed confirmation is a title.
fn teaches(evidence: &Evidence) -> bool {
    let conclusive = evidence.failure.as_ref().is_none_or(|failure| failure.class.is_conclusive());
    conclusive && !(evidence.is_accepted() && evidence.lane == Lane::Confirm)
}

/// Proposals that something is known of.
fn settled_proposals(reader: &RunReader) -> Result<HashSet<Seq>, LogError> {
    let mut settled = HashSet::new();
    for entry in reader.entries()? {
        match entry?.event {
            Event::Judged { proposal, evidence } if teaches(&evidence) => drop(settled.insert(proposal)),
            Event::Deduplicated { proposal, of, .. } if settled.contains(&of) => {
                settled.insert(proposal);
            }
            _ => {}
        }
    }
    Ok(settled)
}

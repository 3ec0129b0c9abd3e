//! Collecting what goes out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kernsmith_core::{Digest, Plan, Proposal, Target};
use kernsmith_experiment_log::Content;
use kernsmith_op_contract::Contract;

use crate::error::BatchError;
use crate::manifest::{BATCH_FORMAT, Item, Job, Kernel, Manifest, contract_folder, source_file};
use crate::unpack::{Holds, pack};

/// A bundle in the making.
#[derive(Debug, Default)]
pub struct Export {
    jobs: Vec<Job>,
    files: BTreeMap<String, Vec<u8>>,
}

/// A candidate with what judges it.
#[derive(Debug, Clone)]
pub struct Given {
    /// Where it came from: `<run>#<seq>` or the name of a file.
    pub from: String,
    /// What the operation is.
    pub contract: Arc<Contract>,
    /// Where the contract is found again: its folder, relative for one that comes with the program.
    pub contract_path: String,
    /// Built for.
    pub target: Target,
    /// The effective configuration.
    pub config: serde_json::Value,
    /// The user's own kernel as frozen baseline: source and plan.
    pub baseline: Option<(String, Plan)>,
    /// The candidate itself.
    pub proposal: Proposal,
}

impl Export {
    /// Takes a candidate in; one that is there already under the same contract and target is not taken twice.
    pub fn add(&mut self, given: Given) -> Result<bool, BatchError> {
        let Given { from, contract, contract_path, target, config, baseline, proposal } = given;
        self.keep_contract(&contract)?;
        let baseline = baseline.map(|(source, plan)| Kernel { source: self.keep(&source), plan });
        let mut origin = proposal.origin;
        origin.parents.clear();
        let item = Item {
            from,
            source: self.keep(&proposal.source),
            language: proposal.language,
            plan: proposal.plan,
            origin,
            rationale: proposal.rationale,
            expected: proposal.prediction,
        };
        let fits = |job: &&mut Job| {
            job.contract_digest == contract.digest && job.target == target && job.baseline == baseline
        };
        if let Some(job) = self.jobs.iter_mut().find(fits) {
            let same = |known: &Item| known.source == item.source && known.plan == item.plan;
            let fresh = !job.candidates.iter().any(same);
            job.candidates.extend(fresh.then_some(item));
            return Ok(fresh);
        }
        self.jobs.push(Job {
            contract: contract.name.clone(),
            version: contract.version,
            contract_digest: contract.digest,
            contract_path,
            target,
            config,
            baseline,
            candidates: vec![item],
        });
        Ok(true)
    }

    /// Whether nothing was taken in.
    pub const fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn keep(&mut self, source: &str) -> Digest {
        let digest = Digest::of(source.as_bytes());
        self.files.entry(source_file(&digest)).or_insert_with(|| source.as_bytes().to_vec());
        digest
    }

    fn keep_contract(&mut self, contract: &Contract) -> Result<(), BatchError> {
        let folder = contract_folder(&contract.digest, &contract.name);
        for (name, bytes) in contract.files()? {
            self.files.insert(format!("{folder}/{name}"), bytes);
        }
        Ok(())
    }

    /// Writes the bundle. Returns its number, what it says of itself, and its size.
    pub fn write(
        self,
        output: &Path,
        program: String,
        time: String,
    ) -> Result<(Digest, Manifest, u64), BatchError> {
        let manifest = Manifest { format: BATCH_FORMAT, program, time, jobs: self.jobs };
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| BatchError::refused(output, error.to_string()))?;
        let number = Digest::of(&text);
        let mut contents = vec![("manifest.json".to_owned(), Content::Bytes(text))];
        contents.extend(self.files.into_iter().map(|(name, bytes)| (name, Content::Bytes(bytes))));
        let bytes = pack(output, Holds::Candidates, contents)?;
        Ok((number, manifest, bytes))
    }
}

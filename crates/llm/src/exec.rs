//! A program of the user's that proposes: a brief as JSON on its stdin, a proposal as JSON on its stdout.

use std::process::Stdio;
use std::time::Duration;

use kernsmith_core::port::{Answer, Halt, PlanRequest};
use kernsmith_core::{Brief, Edit, Origin, Plan, Prediction, Proposal, Propose};
use kernsmith_search_config::ExecConfig;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::answer;
use crate::error::LlmError;

/// The version of what is written and read.
pub(crate) const EXEC_FORMAT: u32 = 1;
/// Misses in a row after which the run ends.
const MAX_MISSES: u32 = 8;
const MAX_STDERR_BYTES: usize = 600;

/// Asks a program.
#[derive(Debug)]
pub struct Exec {
    command: Vec<String>,
    timeout: Duration,
    axes: Vec<String>,
    misses: u32,
    last_miss: String,
}

#[derive(Debug, Deserialize)]
struct RawProposal {
    source: String,
    #[serde(default)]
    plan: Option<Plan>,
    #[serde(default)]
    rationale: String,
    #[serde(default)]
    predicted: Option<Prediction>,
    #[serde(default)]
    operator: Option<String>,
}

impl Exec {
    /// A proposer for a contract with these variable axes.
    ///
    /// # Errors
    ///
    /// No program is named.
    pub fn new(config: &ExecConfig, axes: Vec<String>) -> Result<Self, LlmError> {
        if config.command.is_empty() {
            return Err(LlmError::setting("exec.command", "no program is named, such as [\"./propose.sh\"]"));
        }
        let timeout = Duration::from_secs_f64(config.timeout_seconds);
        Ok(Self { command: config.command.clone(), timeout, axes, misses: 0, last_miss: String::new() })
    }

    /// Runs the program once; a program that fails or says nonsense is a miss with its reason.
    async fn ask(&self, question: &Value) -> Result<Result<Value, String>, LlmError> {
        let program = self.command.first().cloned().unwrap_or_default();
        let fault = |problem: String| LlmError::Program { program: program.clone(), problem };
        let mut child = Command::new(&program)
            .args(&self.command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| fault(format!("cannot be started: {error}; see exec.command")))?;
        let group = child.id();
        let input = question.to_string();
        let stdin = child.stdin.take();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A program that does not read its input may still answer.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let answered =
            tokio::time::timeout(self.timeout, async { tokio::join!(feed, child.wait_with_output()).1 })
                .await;
        let Ok(output) = answered else {
            end_group(group);
            return Ok(Err(format!("no answer within {:.0} s", self.timeout.as_secs_f64())));
        };
        let output = output.map_err(|error| fault(error.to_string()))?;
        let stderr: String = String::from_utf8_lossy(&output.stderr).chars().take(MAX_STDERR_BYTES).collect();
        if !output.status.success() {
            return Ok(Err(format!("{}: {}", output.status, stderr.trim())));
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        Ok(serde_json::from_str(stdout.trim())
            .map_err(|error| format!("stdout is not one JSON object: {error}; {stderr}")))
    }

    fn miss<T>(&mut self, reason: String) -> Answer<T> {
        self.misses += 1;
        self.last_miss.clone_from(&reason);
        Answer::Missed(reason)
    }
}

/// Ends whatever the program started; it has a process group of its own.
fn end_group(leader: Option<u32>) {
    let leader = leader.and_then(|id| rustix::process::Pid::from_raw(id as i32));
    if let Some(leader) = leader {
        let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
    }
}

impl Propose for Exec {
    type Error = LlmError;

    fn name(&self) -> &'static str {
        "exec"
    }

    async fn plan(&mut self, request: &PlanRequest) -> Result<Answer<Vec<Edit>>, LlmError> {
        let question = json!({
            "format": EXEC_FORMAT, "question": "plan", "request": request, "answer": answer::EDITS_FORMAT,
        });
        let said = match self.ask(&question).await? {
            Ok(said) => said,
            Err(reason) => return Ok(self.miss(reason)),
        };
        match answer::read_edits(&said.to_string(), request.nodes.len() + 1) {
            Ok(edits) => {
                self.misses = 0;
                Ok(Some(edits).filter(|edits| !edits.is_empty()).into())
            }
            Err((class, problem)) => Ok(self.miss(format!("{class}: {problem}"))),
        }
    }

    async fn propose(&mut self, brief: &Brief) -> Result<Answer<Proposal>, LlmError> {
        let question = json!({"format": EXEC_FORMAT, "question": "propose", "brief": brief});
        let said = match self.ask(&question).await? {
            Ok(said) => said,
            Err(reason) => return Ok(self.miss(reason)),
        };
        if said["nothing"] == true {
            self.misses = 0;
            return Ok(Answer::Nothing);
        }
        let raw: RawProposal = match serde_json::from_value(said) {
            Ok(raw) => raw,
            Err(error) => return Ok(self.miss(format!("the answer is no proposal: {error}"))),
        };
        let axes: Vec<&str> = self.axes.iter().map(String::as_str).collect();
        let plan = raw.plan.unwrap_or_default();
        if let Err(error) = plan.check(&axes) {
            return Ok(self.miss(error.to_string()));
        }
        self.misses = 0;
        Ok(Answer::Ready(Proposal {
            node: brief.strategy.node,
            language: brief.target.language(),
            source: raw.source,
            plan,
            origin: Origin {
                proposer: "exec".to_owned(),
                operator: raw.operator.unwrap_or_else(|| "propose".to_owned()),
                parents: brief.elites.first().map(|elite| elite.proposal).into_iter().collect(),
                ..Origin::default()
            },
            prediction: Some(raw.predicted.unwrap_or(brief.strategy.predicted)),
            rationale: raw.rationale,
        }))
    }

    fn reads(&self) -> bool {
        true
    }

    fn halted(&self) -> Option<Halt> {
        (self.misses >= MAX_MISSES).then(|| {
            Halt::Unreachable(format!(
                "`{}` failed {} times in a row: {}",
                self.command[0], self.misses, self.last_miss
            ))
        })
    }
}

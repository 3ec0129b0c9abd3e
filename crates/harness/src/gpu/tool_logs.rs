//! Reading what NVIDIA's tools have written.

use std::collections::BTreeMap;

use kernsmith_core::evidence::{KernelProfile, ToolReport};

/// Findings that are told in full.
const TOLD: usize = 10;
/// What the checkers write in front of every line.
const MARK: &str = "=========";

/// The report of a memory checker: findings in which one of the candidate's own kernels is named. The harness's kernels and the
/// driver's calls run under the tool too, and are nobody's fault here.
pub(crate) fn checked(tool: &str, text: &str, symbols: &[&str]) -> ToolReport {
    let mut findings: Vec<Vec<&str>> = Vec::new();
    for line in text.lines().filter_map(|line| line.trim_start().strip_prefix(MARK)) {
        let indented = line.starts_with("     ");
        let line = line.trim();
        match findings.last_mut() {
            Some(finding) if indented && !line.is_empty() => finding.push(line),
            _ if line.is_empty() => {}
            _ => findings.push(vec![line]),
        }
    }
    let ours = |finding: &&Vec<&str>| {
        let mut lines =
            finding.iter().flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
        finding.len() > 1 && lines.any(|word| symbols.contains(&word))
    };
    let found: Vec<&Vec<&str>> = findings.iter().filter(ours).collect();
    let lines = found.iter().take(TOLD).map(|finding| finding[..finding.len().min(3)].join("; "));
    ToolReport {
        tool: tool.to_owned(),
        findings: found.len() as u64,
        lines: lines.collect(),
        kernels: Vec::new(),
    }
}

/// The profiler's raw page: a row a launch, a column a metric; the second row holds units. It adds metrics of its own.
pub(crate) fn profile(text: &str, wanted: &[&str]) -> Vec<KernelProfile> {
    let mut rows = text.lines().filter(|line| line.starts_with('"')).map(cells);
    let Some(header) = rows.next() else { return Vec::new() };
    let column = |name: &str| header.iter().position(|cell| cell == name);
    let (Some(kernel), Some(grid), Some(block)) =
        (column("Kernel Name"), column("Grid Size"), column("Block Size"))
    else {
        return Vec::new();
    };
    let of_row = |row: Vec<String>| {
        let at = |index: usize| row.get(index).cloned().unwrap_or_default();
        let metrics: BTreeMap<String, f64> = header
            .iter()
            .zip(&row)
            .filter(|(name, _)| wanted.contains(&name.as_str()))
            .filter_map(|(name, cell)| Some((name.clone(), cell.replace(',', "").parse().ok()?)))
            .collect();
        let symbol = at(kernel).split('(').next().unwrap_or_default().trim().to_owned();
        (!metrics.is_empty()).then(|| KernelProfile { symbol, grid: at(grid), block: at(block), metrics })
    };
    rows.filter_map(of_row).collect()
}

/// The cells of a line in which every cell is quoted.
fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('"').split("\",\"").map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMCHECK: &str = "\
========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 2 bytes
=========     at rmsnorm+0x120
=========     by thread (3,0,0) in block (1,0,0)
=========
========= Invalid __global__ read of size 8 bytes
=========     at kit_sum+0x90
=========     by thread (0,0,0) in block (0,0,0)
=========
========= Program hit CUDA_ERROR_LAUNCH_FAILED (error 719) due to \"unspecified launch failure\" on CUDA API call to cuEventQuery.
=========     Saved host backtrace up to driver entry point at error
=========         Host Frame: main
=========
========= ERROR SUMMARY: 2 errors
";

    #[test]
    fn a_finding_counts_where_it_names_a_kernel_of_the_candidate() {
        let report = checked("memcheck", MEMCHECK, &["rmsnorm"]);
        assert_eq!(report.findings, 1, "{report:?}");
        assert!(report.lines[0].starts_with("Invalid __global__ write of size 2 bytes; at rmsnorm"));
        assert_eq!(checked("memcheck", MEMCHECK, &["other"]).findings, 0);
    }

    #[test]
    fn metrics_are_read_by_their_names_and_units_are_no_row() {
        let text = "==PROF== Connected\n\
            \"ID\",\"Process ID\",\"Kernel Name\",\"Block Size\",\"Grid Size\",\"dram__bytes_read.sum\",\"gpu__time_duration.sum\"\n\
            \"\",\"\",\"\",\"\",\"\",\"byte\",\"ns\"\n\
            \"0\",\"77\",\"rmsnorm(const __nv_bfloat16 *, long long)\",\"(256, 1, 1)\",\"(16, 1, 1)\",\"1,048,576\",\"4321.5\"\n";
        let kernels = profile(text, &["dram__bytes_read.sum"]);
        assert_eq!(kernels.len(), 1, "{kernels:?}");
        assert_eq!((kernels[0].symbol.as_str(), kernels[0].block.as_str()), ("rmsnorm", "(256, 1, 1)"));
        assert!((kernels[0].metrics["dram__bytes_read.sum"] - 1_048_576.0).abs() < 0.5);
        assert_eq!(kernels[0].metrics.len(), 1, "only what was asked for");
        assert!(profile("==ERROR== ERR_NVGPUCTRPERM", &[]).is_empty());
    }
}

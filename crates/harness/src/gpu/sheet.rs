//! What is known of devices by their names, and how a device that is there differs from it.
//!
//! The driver's numbers decide what is launched; the table only tells whether they are those of the part whose name they
//! come under: a slice of a device, a firmware that holds clocks down, a driver that invents. Sources: NVIDIA's data sheets of the parts and
//! the architecture whitepapers; bandwidth is that of the memory, matrix operations are dense bf16 ones with f32 sums.

use kernsmith_wire::gpu::GpuDevice;

/// One part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sheet {
    /// How its name begins.
    name: &'static str,
    sm_count: u32,
    /// Last-level cache in MiB, smallest and largest that drivers report.
    l2_mib: (u64, u64),
    /// Memory in GiB, as on the box: smallest and largest part of that name.
    memory_gib: (u64, u64),
    bytes_per_second: f64,
    /// Matrix operations a second.
    pub(crate) bf16_per_second: f64,
    clock_mhz: u32,
}

const SHEETS: [Sheet; 10] = [
    sheet("NVIDIA A100-SXM4-40GB", 108, (40, 40), (40, 40), 1555e9, 312e12, 1410),
    sheet("NVIDIA A100-SXM4-80GB", 108, (40, 40), (80, 80), 2039e9, 312e12, 1410),
    sheet("NVIDIA H100 80GB HBM3", 132, (50, 50), (80, 80), 3350e9, 989e12, 1980),
    sheet("NVIDIA H100 PCIe", 114, (50, 50), (80, 80), 2000e9, 756e12, 1755),
    sheet("NVIDIA H200", 132, (50, 60), (141, 141), 4800e9, 989e12, 1980),
    sheet("NVIDIA B200", 148, (126, 128), (180, 192), 8000e9, 2250e12, 1965),
    sheet("NVIDIA L40S", 142, (96, 96), (48, 48), 864e9, 362e12, 2520),
    sheet("NVIDIA L4", 58, (48, 48), (24, 24), 300e9, 121e12, 2040),
    sheet("NVIDIA GeForce RTX 4090", 128, (72, 72), (24, 24), 1008e9, 165e12, 2520),
    sheet("NVIDIA GeForce RTX 5090", 170, (96, 96), (32, 32), 1792e9, 209e12, 2407),
];

/// Part of the memory on the box that drivers keep for themselves, or count in other units.
const MEMORY_LESS: f64 = 0.10;
/// Clock times width is within this of the sheet's bandwidth.
const BANDWIDTH_OFF: f64 = 0.08;
/// Makers raise clocks; a device that may not go as fast is a slow one.
const CLOCK_LESS: f64 = 0.05;
const CLOCK_MORE: f64 = 0.30;

const fn sheet(
    name: &'static str,
    sm_count: u32,
    l2_mib: (u64, u64),
    memory_gib: (u64, u64),
    bytes_per_second: f64,
    bf16_per_second: f64,
    clock_mhz: u32,
) -> Sheet {
    Sheet { name, sm_count, l2_mib, memory_gib, bytes_per_second, bf16_per_second, clock_mhz }
}

impl Sheet {
    /// What is known of a device of this name; the longest beginning counts.
    pub(crate) fn of(name: &str) -> Option<&'static Self> {
        SHEETS.iter().filter(|sheet| name.starts_with(sheet.name)).max_by_key(|sheet| sheet.name.len())
    }

    /// Where a device differs, one sentence each; numbers that the driver does not tell are passed over.
    fn differences(&self, device: &GpuDevice) -> Vec<String> {
        let mut found = Vec::new();
        let mut differs = |what: &str, known: String, there: String| {
            found.push(format!("{what}: {there}, known of {} is {known}", self.name));
        };
        if device.sm_count != self.sm_count {
            differs("multiprocessors", self.sm_count.to_string(), device.sm_count.to_string());
        }
        let (l2, (low, high)) = (device.l2_bytes, self.l2_mib);
        if l2 > 0 && !(low << 20..=high << 20).contains(&l2) {
            differs("last-level cache", format!("{low} MiB"), format!("{} MiB", l2 >> 20));
        }
        let (memory, (low, high)) = (device.memory_bytes as f64, self.memory_gib);
        let gib = |count: u64| (count << 30) as f64;
        if memory > 0.0 && !((1.0 - MEMORY_LESS) * gib(low)..=gib(high)).contains(&memory) {
            differs("memory", format!("{low} GiB"), format!("{:.1} GiB", memory / gib(1)));
        }
        let bandwidth = bytes_per_second(device);
        if bandwidth > 0.0 && (bandwidth / self.bytes_per_second - 1.0).abs() > BANDWIDTH_OFF {
            let terabytes = |rate: f64| format!("{:.2} TB/s", rate / 1e12);
            differs("memory bandwidth", terabytes(self.bytes_per_second), terabytes(bandwidth));
        }
        let (clock, known) = (f64::from(device.clock_khz) / 1e3, f64::from(self.clock_mhz));
        if clock > 0.0 && !((1.0 - CLOCK_LESS) * known..=(1.0 + CLOCK_MORE) * known).contains(&clock) {
            differs("highest clock", format!("{known:.0} MHz"), format!("{clock:.0} MHz"));
        }
        found
    }
}

/// Memory clock times width, two transfers a cycle; 0 where the driver does not tell.
fn bytes_per_second(device: &GpuDevice) -> f64 {
    2.0 * f64::from(device.memory_clock_khz) * 1e3 * f64::from(device.memory_bus_bits) / 8.0
}

/// Where a device differs from what is known of its name; nothing where the name is not known.
pub(crate) fn differences(device: &GpuDevice) -> Vec<String> {
    Sheet::of(&device.name).map(|sheet| sheet.differences(device)).unwrap_or_default()
}

/// A device in one line.
pub(crate) fn describe(device: &GpuDevice) -> String {
    let known = if Sheet::of(&device.name).is_some() { "" } else { "; nothing is known of that name" };
    let bandwidth = match bytes_per_second(device) {
        rate if rate > 0.0 => format!(", {:.2} TB/s", rate / 1e12),
        _ => String::new(),
    };
    format!(
        "{}: {}, {} multiprocessors up to {} MHz, {:.1} GiB{bandwidth}, L2 {} MiB, driver for CUDA {}.{}{known}",
        device.name,
        device.arch,
        device.sm_count,
        device.clock_khz / 1000,
        device.memory_bytes as f64 / f64::from(1 << 30),
        device.l2_bytes >> 20,
        device.driver_version / 1000,
        device.driver_version % 1000 / 10
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h200() -> GpuDevice {
        GpuDevice {
            name: "NVIDIA H200".to_owned(),
            uuid: "0".repeat(32),
            arch: "sm_90a".to_owned(),
            sm_count: 132,
            memory_bytes: 143_771 << 20,
            l2_bytes: 50 << 20,
            shared_optin_bytes: 232_448,
            clock_khz: 1_980_000,
            memory_clock_khz: 3_201_000,
            memory_bus_bits: 6144,
            driver_version: 13_000,
        }
    }

    #[test]
    fn a_device_that_is_what_its_name_says_is_not_blamed() {
        assert_eq!(differences(&h200()), Vec::<String>::new());
        assert!(
            describe(&h200())
                .starts_with("NVIDIA H200: sm_90a, 132 multiprocessors up to 1980 MHz, 140.4 GiB, 4.92 TB/s")
        );
        let silent = GpuDevice { clock_khz: 0, memory_clock_khz: 0, ..h200() };
        assert_eq!(differences(&silent), Vec::<String>::new(), "newer drivers tell no clocks");
        let unknown = GpuDevice { name: "NVIDIA X1".to_owned(), sm_count: 1, ..h200() };
        assert_eq!(differences(&unknown), Vec::<String>::new());
        assert!(describe(&unknown).contains("nothing is known of that name"));
    }

    #[test]
    fn a_slice_and_a_slow_clock_are_named_with_both_numbers() {
        let slice = GpuDevice { sm_count: 60, memory_bytes: 70 << 30, l2_bytes: 25 << 20, ..h200() };
        let found = differences(&slice).join("; ");
        for words in [
            "multiprocessors: 60, known of NVIDIA H200 is 132",
            "last-level cache: 25 MiB",
            "memory: 70.0 GiB",
        ] {
            assert!(found.contains(words), "{found}");
        }
        let slow = GpuDevice { clock_khz: 1_200_000, memory_clock_khz: 1_600_000, ..h200() };
        let found = differences(&slow).join("; ");
        assert!(found.contains("highest clock: 1200 MHz, known of NVIDIA H200 is 1980 MHz"), "{found}");
        assert!(found.contains("memory bandwidth: 2.46 TB/s"), "{found}");
    }

    #[test]
    fn names_are_told_apart_by_their_whole_beginning() {
        let known = |name| Sheet::of(name).map(|sheet| sheet.sm_count);
        assert_eq!(known("NVIDIA L40S"), Some(142));
        assert_eq!(known("NVIDIA L4"), Some(58));
        assert_eq!(known("NVIDIA H100 80GB HBM3"), Some(132));
        assert_eq!(known("NVIDIA H100 PCIe"), Some(114));
        assert_eq!(known("AMD Instinct MI300X"), None);
    }
}

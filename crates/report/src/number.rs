//! Numbers as people read them.

/// Three significant digits: `0.123`, `1.23`, `12.3`, `1230`.
pub(crate) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 || size == 0.0 => 2,
        size if size >= 0.099_95 => 3,
        size if size >= 0.009_995 => 4,
        _ => return format!("{value:.2e}"),
    };
    format!("{value:.decimals$}")
}

/// A ratio, such as `6.31×`.
pub(crate) fn ratio(value: f64) -> String {
    format!("{}×", significant(value))
}

/// An interval, such as `6.20–6.43`.
pub(crate) fn interval(low: f64, high: f64) -> String {
    format!("{}–{}", significant(low), significant(high))
}

/// A duration of a call, with the unit that suits it.
pub(crate) fn microseconds(value_us: f64) -> String {
    match value_us {
        us if us >= 1e6 => format!("{} s", significant(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", significant(us / 1e3)),
        us => format!("{} µs", significant(us)),
    }
}

/// A duration of a search.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..=119 => format!("{:.1} s", seconds.max(0.0)),
        120..=7199 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A share, such as `81.2 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// What stands in a table where there is nothing to say.
pub(crate) const NOTHING: &str = "–";

/// The text of an optional value.
pub(crate) fn or_nothing(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_their_unit() {
        assert_eq!(ratio(6.312), "6.31×");
        assert_eq!(ratio(41.28), "41.3×");
        assert_eq!(microseconds(1234.0), "1.23 ms");
        assert_eq!(duration(3_725.0), "62 min 5 s");
        assert_eq!(duration(0.004), "0.0 s");
        assert_eq!((significant(0.9999), significant(9.999)), ("1.00".to_owned(), "10.0".to_owned()));
        assert_eq!(significant(f64::NAN), "–");
    }
}

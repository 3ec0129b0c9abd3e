//! The progress of a search as an inline SVG that fits a light and a dark page.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::ReportError;
use crate::story::{Point, Promotion, Story};

const SIZE: (u32, u32) = (560, 300);
/// Drawn in this colour and then renamed to `currentColor`, so that axes take the page's own.
const INK: RGBColor = RGBColor(1, 1, 1);
const SEEN: RGBColor = RGBColor(0x3b, 0x82, 0xc4);
const CONFIRMED: RGBColor = RGBColor(0xd9, 0x6b, 0x16);
const MOST_POINTS: usize = 1500;

/// What a plot goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Candidates proposed.
    Candidates,
    /// Wall time in seconds.
    Seconds,
}

impl Over {
    const fn name(self) -> &'static str {
        match self {
            Self::Candidates => "progress over candidates",
            Self::Seconds => "progress over wall time",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Candidates => "candidates",
            Self::Seconds => "seconds",
        }
    }

    fn x(self, point: &Point) -> f64 {
        match self {
            Self::Candidates => point.ordinal as f64,
            Self::Seconds => point.seconds,
        }
    }
}

/// Best seen and best confirmed ratio; `None` where nothing has passed yet.
pub(crate) fn progress(story: &Story, over: Over) -> Result<Option<String>, ReportError> {
    if story.points.is_empty() {
        return Ok(None);
    }
    let end = match over {
        Over::Candidates => (story.tree.counts().proposed as f64).max(1.0),
        Over::Seconds => story.end_seconds.max(1e-3),
    };
    let ratios =
        || story.points.iter().map(|point| point.ratio).chain(story.promotions.iter().map(|p| p.ci.1));
    let low = ratios().fold(1.0_f64, f64::min).max(1e-3) * 0.9;
    let high = ratios().fold(1.0_f64, f64::max).min(1e6) * 1.12;
    let mut svg = String::new();
    let outcome = if high / low > 10.0 {
        draw(&mut svg, story, over, 0.0..end, (low..high).log_scale())
    } else {
        draw(&mut svg, story, over, 0.0..end, low..high)
    };
    outcome.map_err(|problem| ReportError::Plot { plot: over.name(), problem })?;
    Ok(Some(inline(&svg, over.name())))
}

/// Takes the parts out that only a file of its own needs, and lets the ink follow the page.
fn inline(svg: &str, name: &str) -> String {
    let start = svg.find("<svg").unwrap_or(0);
    svg[start..]
        .replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1)
        .replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{name}\" "), 1)
        .replace("#010101", "currentColor")
}

fn draw<Y>(svg: &mut String, story: &Story, over: Over, x: std::ops::Range<f64>, y: Y) -> Result<(), String>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let text = |error: DrawingAreaErrorKind<_>| -> String {
        let error: DrawingAreaErrorKind<std::io::Error> = error;
        error.to_string()
    };
    let end = x.end;
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(38)
        .y_label_area_size(54)
        .build_cartesian_2d(x, y)
        .map_err(text)?;
    let label = ("sans-serif", 13).into_font().color(&INK);
    chart
        .configure_mesh()
        .axis_style(INK.mix(0.5))
        .bold_line_style(INK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .label_style(label.clone())
        .axis_desc_style(label)
        .x_desc(over.label())
        .y_desc("ratio to the frozen baseline")
        .y_label_formatter(&|ratio| format!("{ratio:.2}"))
        .x_labels(8)
        .x_label_formatter(&|x| if end < 8.0 { format!("{x:.2}") } else { format!("{x:.0}") })
        .draw()
        .map_err(text)?;
    let baseline = [(0.0, 1.0), (end, 1.0)];
    chart.draw_series(LineSeries::new(baseline, INK.mix(0.45))).map_err(text)?;
    let dots = thin(&story.points).map(|p| Circle::new((over.x(p), p.ratio), 2, SEEN.mix(0.35).filled()));
    chart.draw_series(dots).map_err(text)?;
    let seen = steps(story.points.iter().map(|point| (over.x(point), point.ratio)), end, true);
    chart.draw_series(LineSeries::new(seen, SEEN.stroke_width(2))).map_err(text)?;
    let promoted = story.promotions.iter().map(|promotion| (over.x(&promotion.at), promotion.at.ratio));
    let confirmed = steps(promoted, end, false);
    chart.draw_series(LineSeries::new(confirmed, CONFIRMED.stroke_width(2))).map_err(text)?;
    chart
        .draw_series(story.promotions.iter().map(|promotion| interval_bar(over, promotion)))
        .map_err(text)?;
    let centres =
        story.promotions.iter().map(|p| Circle::new((over.x(&p.at), p.at.ratio), 4, CONFIRMED.filled()));
    chart.draw_series(centres).map_err(text)?;
    area.present().map_err(text)
}

/// The interval of a promotion, as a line with its value in the middle.
fn interval_bar(over: Over, promotion: &Promotion) -> PathElement<(f64, f64)> {
    let (x, (low, high)) = (over.x(&promotion.at), promotion.ci);
    PathElement::new(vec![(x, low), (x, high)], CONFIRMED.stroke_width(2))
}

/// At most [`MOST_POINTS`] points, evenly taken.
fn thin(points: &[Point]) -> impl Iterator<Item = &Point> {
    points.iter().step_by(points.len().div_ceil(MOST_POINTS).max(1))
}

/// A staircase through values in order; where `rising`, only through those that beat all before.
fn steps(values: impl Iterator<Item = (f64, f64)>, end: f64, rising: bool) -> Vec<(f64, f64)> {
    let mut stairs: Vec<(f64, f64)> = Vec::new();
    for (x, y) in values {
        match stairs.last() {
            Some(&(_, last)) if rising && y <= last => continue,
            Some(&(_, last)) => stairs.push((x, last)),
            None => {}
        }
        stairs.push((x, y));
    }
    if let Some(&(_, last)) = stairs.last() {
        stairs.push((end, last));
    }
    stairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_seen_never_falls_and_reaches_the_end() {
        let stairs = steps([(1.0, 2.0), (2.0, 1.5), (3.0, 4.0)].into_iter(), 5.0, true);
        assert_eq!(stairs, [(1.0, 2.0), (3.0, 2.0), (3.0, 4.0), (5.0, 4.0)]);
    }
}

//! Lines over a common axis as an SVG file of its own: what a benchmark draws.

use plotters::prelude::*;

use crate::ReportError;

const SIZE: (u32, u32) = (760, 420);
/// Told apart by people who see colours differently too (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x55, 0x55, 0x55),
    RGBColor(0xb0, 0xa4, 0x20),
];

/// Lines over a common axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// What stands above.
    pub title: String,
    /// What the horizontal axis counts.
    pub x: String,
    /// What the vertical axis measures.
    pub y: String,
    /// Name and values of each line; the first value stands at 1.
    pub lines: Vec<(String, Vec<f64>)>,
}

impl Curves {
    /// The SVG file's text. Values that are not finite are left out; without any value the axes are empty.
    pub fn svg(&self) -> Result<String, ReportError> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|problem| ReportError::Plot { plot: "curves", problem })?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Result<(), String> {
        let values = || self.lines.iter().flat_map(|(_, values)| values).copied().filter(|y| y.is_finite());
        let high = values().fold(f64::MIN, f64::max);
        let low = values().fold(f64::MAX, f64::min).min(high);
        let (low, high) = if high > low { (low, high) } else { (low.min(0.0), 1.0) };
        let end = self.lines.iter().map(|(_, values)| values.len()).max().unwrap_or(1).max(2);
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(56)
            .build_cartesian_2d(1.0..end as f64, low..high)
            .map_err(|error| error.to_string())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .draw()
            .map_err(|error| error.to_string())?;
        for (place, (name, values)) in self.lines.iter().enumerate() {
            let colour = COLOURS[place % COLOURS.len()];
            let points = values.iter().enumerate().filter(|(_, y)| y.is_finite());
            let points = points.map(|(at, y)| ((at + 1) as f64, *y));
            let series = LineSeries::new(points, colour.stroke_width(2));
            let series = chart.draw_series(series).map_err(|error| error.to_string())?;
            series
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        let labels =
            chart.configure_series_labels().border_style(BLACK.mix(0.2)).background_style(WHITE).draw();
        labels.map_err(|error| error.to_string())?;
        area.present().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_drawn_and_named() {
        let lines =
            vec![("one".to_owned(), vec![3.0, 2.0, 1.0]), ("two".to_owned(), vec![f64::INFINITY, 2.0])];
        let curves = Curves { title: "t".to_owned(), x: "x".to_owned(), y: "y".to_owned(), lines };
        let svg = curves.svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("one") && svg.contains("two"));
        let empty = Curves { lines: Vec::new(), ..curves };
        assert!(empty.svg().unwrap().contains("<svg"));
    }
}

//! A curve as an SVG drawing, both axes logarithmic, so that a power of the size is a straight line; with the lines that
//! growth in proportion and with the square would take from one of its points. Pure.

use std::fmt::Write;

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    pub(super) title: String,
    /// What stands below.
    pub(super) x: String,
    /// The unit of the values.
    pub(super) y: String,
    /// Those that are not above nothing are left out.
    pub(super) points: Vec<(f64, f64)>,
    /// The lines of growth begin at the first point beyond this.
    pub(super) beyond: f64,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Around the drawing: left, right, top, bottom.
const MARGINS: (f64, f64, f64, f64) = (70.0, 120.0, 40.0, 50.0);

/// From values to places in the drawing.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
}

impl Scale {
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let (left, right, top, bottom) = MARGINS;
        let part = |value: f64, (low, high): (f64, f64)| (value.ln() - low.ln()) / (high.ln() - low.ln());
        (
            left + part(x, self.x) * (WIDTH - left - right),
            HEIGHT - bottom - part(y, self.y) * (HEIGHT - top - bottom),
        )
    }
}

/// The drawing as the text of an SVG file.
pub(super) fn draw(curve: &Curve) -> String {
    let points: Vec<(f64, f64)> = curve
        .points
        .iter()
        .copied()
        .filter(|(x, y)| *x > 0.0 && *y > 0.0)
        .collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    text(&mut svg, (MARGINS.0, 22.0), "start", &curve.title);
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        text(
            &mut svg,
            (WIDTH / 2.0, HEIGHT / 2.0),
            "middle",
            "nothing could be measured",
        );
        svg.push_str("</svg>\n");
        return svg;
    };
    let begin = points.iter().find(|it| it.0 > curve.beyond).unwrap_or(first);
    let ends = |power: f64| (last.0, begin.1 * (last.0 / begin.0).powf(power));
    let lows = points.iter().map(|it| it.1).fold(first.1, f64::min);
    let highs = points.iter().map(|it| it.1).fold(ends(2.0).1.max(first.1), f64::max);
    let scale = Scale {
        x: (first.0 / 1.2, (last.0 * 1.2).max(first.0 * 2.0)),
        y: (lows / 1.5, highs * 1.2),
    };
    axes(&mut svg, &scale, &points, curve);
    for (power, words) in [(1.0, "in proportion"), (2.0, "the square")] {
        line(
            &mut svg,
            &scale,
            &[*begin, ends(power)],
            "stroke=\"#999\" stroke-dasharray=\"5 4\"",
        );
        let (x, y) = scale.place(ends(power));
        text(&mut svg, (x + 6.0, y + 4.0), "start", words);
    }
    line(&mut svg, &scale, &points, "stroke=\"#0a6\" stroke-width=\"2\"");
    for point in &points {
        let (x, y) = scale.place(*point);
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"#0a6\"/>");
        text(&mut svg, (x, y - 8.0), "middle", &digits(point.1));
    }
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String, scale: &Scale, points: &[(f64, f64)], curve: &Curve) {
    let (left, right, top, bottom) = MARGINS;
    let floor = HEIGHT - bottom;
    let _ = writeln!(
        svg,
        "<path d=\"M{left} {top} V{floor} H{}\" fill=\"none\" stroke=\"black\"/>",
        WIDTH - right
    );
    for (x, _) in points {
        let (place, _) = scale.place((*x, scale.y.0));
        text(svg, (place, floor + 16.0), "middle", &format!("{x:.0}"));
    }
    text(svg, (left, HEIGHT - 12.0), "start", &curve.x);
    let decades = scale.y.0.log10().ceil() as i32..=scale.y.1.log10().floor() as i32;
    for decade in decades {
        let value = 10_f64.powi(decade);
        let (_, place) = scale.place((scale.x.0, value));
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {place:.1} H{}\" stroke=\"#ddd\"/>",
            WIDTH - right
        );
        text(svg, (left - 6.0, place + 4.0), "end", &format!("{value} {}", curve.y));
    }
}

fn line(svg: &mut String, scale: &Scale, points: &[(f64, f64)], style: &str) {
    let places = points.iter().map(|it| scale.place(*it));
    let places: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" {style}/>", places.join(" "));
}

/// Three digits or so.
fn digits(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The texts are this program's own: nothing in them needs escaping.
fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve {
            title: "cost".into(),
            x: "members".into(),
            y: "ms".into(),
            points: points.to_vec(),
            beyond: 60.0,
        }
    }

    #[test]
    fn every_point_is_drawn_inside_the_drawing() {
        let svg = draw(&curve(&[(50.0, 0.5), (100.0, 1.1), (2_000.0, 24.0)]));
        assert_eq!(svg.matches("<circle").count(), 3);
        for number in svg.split("cx=\"").skip(1) {
            let x: f64 = number.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..WIDTH).contains(&x));
        }
        for number in svg.split("cy=\"").skip(1) {
            let y: f64 = number.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..HEIGHT).contains(&y), "{y}");
        }
    }

    #[test]
    fn what_could_not_be_measured_is_left_out() {
        let svg = draw(&curve(&[(50.0, -0.1), (100.0, 1.0)]));
        assert_eq!((svg.matches("<circle").count(), svg.contains("NaN")), (1, false));
        assert!(draw(&curve(&[])).contains("nothing could be measured"));
    }
}

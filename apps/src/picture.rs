//! Pictures of a plate of numbers: a colour map made in the OKLab space, where equal steps look equal, the
//! scaling down of a large plate, and the PNG file. Which plate it is, is the caller's affair.

use std::io::{self, Write};
use std::ops::Range;

/// The longest side of a picture in pixels: a screenful.
pub const LONGEST_SIDE: usize = 1024;

/// Colours from dark violet over red to light yellow; equal steps of the value look equally far apart.
pub struct ColourMap {
    colours: Vec<[u8; 3]>,
}

impl Default for ColourMap {
    fn default() -> ColourMap {
        ColourMap {
            colours: (0..COLOURS)
                .map(|i| colour(i as f64 / (COLOURS - 1) as f64))
                .collect(),
        }
    }
}

impl ColourMap {
    /// The colour (red, green, blue) of a value from 0 to 1; what lies outside is drawn as the nearer end.
    pub fn of(&self, value: f64) -> [u8; 3] {
        // A float cast saturates, and takes what is no number to 0.
        self.colours[((value * (COLOURS - 1) as f64).round() as usize).min(COLOURS - 1)]
    }
}

/// The side in pixels of the picture of a square plate with `size` points a side.
pub fn side(size: usize) -> usize {
    size.min(LONGEST_SIDE)
}

/// The mean values under the pixels of one row of the picture of a square plate, row by row in `plate`.
pub fn pixel_row(plate: &[f64], size: usize, row: usize, pixels: &mut [f64]) {
    let side = pixels.len();
    let rows = points(size, side, row);
    for (column, pixel) in pixels.iter_mut().enumerate() {
        let columns = points(size, side, column);
        let count = rows.len() * columns.len();
        let under = rows
            .clone()
            .flat_map(|row| &plate[row * size..][columns.clone()]);
        *pixel = under.sum::<f64>() / count as f64;
    }
}

/// Writes a square picture as a PNG: `values` row by row, those from 0 to `hottest` in the map's colours.
pub fn write_png(file: impl Write, values: &[f64], side: usize, hottest: f64) -> io::Result<()> {
    let map = ColourMap::default();
    let pixels: Vec<u8> = values
        .iter()
        .flat_map(|value| map.of(value / hottest))
        .collect();
    let length = u32::try_from(side).map_err(io::Error::other)?;
    let mut encoder = png::Encoder::new(file, length, length);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(())
}

const COLOURS: usize = 256;

/// The points of the plate under pixel `at` of `side`.
fn points(size: usize, side: usize, at: usize) -> Range<usize> {
    at * size / side..(at + 1) * size / side
}

/// The colour at `t` from 0 to 1: lightness rises evenly, the hue turns evenly from violet to yellow, and
/// the colour is as strong as the screen allows up to a bell that leaves both ends calm.
fn colour(t: f64) -> [u8; 3] {
    let lightness = 0.18 + 0.78 * t;
    let hue = (290.0 + 175.0 * t).to_radians();
    let mut chroma = 0.05 + 0.14 * (t * std::f64::consts::PI).sin();
    loop {
        let rgb = linear_rgb(lightness, chroma * hue.cos(), chroma * hue.sin());
        if rgb.iter().all(|channel| (0.0..=1.0).contains(channel)) || chroma < 0.001 {
            return rgb.map(|channel| (gamma(channel.clamp(0.0, 1.0)) * 255.0).round() as u8);
        }
        chroma *= 0.995;
    }
}

/// From OKLab (Ottosson 2020) to linear sRGB.
fn linear_rgb(lightness: f64, a: f64, b: f64) -> [f64; 3] {
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ]
}

/// The sRGB transfer curve.
fn gamma(linear: f64) -> f64 {
    if linear <= 0.003_130_8 {
        12.92 * linear
    } else {
        1.055 * linear.powf(1.0 / 2.4) - 0.055
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How light a colour looks: the luminance that the eye weighs, as the sRGB standard has it.
    fn luminance(colour: [u8; 3]) -> f64 {
        let [r, g, b] = colour.map(|channel| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.040_45 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    #[test]
    fn hotter_is_always_lighter() {
        let map = ColourMap::default();
        let steps: Vec<f64> = (0..=64)
            .map(|i| luminance(map.of(f64::from(i) / 64.0)))
            .collect();
        assert!(steps.is_sorted(), "{steps:?}");
        assert!(
            steps[0] < 0.02 && steps[64] > 0.8,
            "{} to {}",
            steps[0],
            steps[64]
        );
    }

    #[test]
    fn values_outside_take_the_nearer_end() {
        let map = ColourMap::default();
        assert_eq!(map.of(-3.0), map.of(0.0));
        assert_eq!(map.of(7.0), map.of(1.0));
        assert_eq!(map.of(f64::NAN), map.of(0.0));
    }

    #[test]
    fn pixels_are_means_of_all_points_under_them() {
        let plate: Vec<f64> = (0..25).map(f64::from).collect();
        let mut pixels = [0.0; 2];
        pixel_row(&plate, 5, 0, &mut pixels);
        assert_eq!(
            pixels,
            [
                (0.0 + 1.0 + 5.0 + 6.0) / 4.0,
                (2.0 + 3.0 + 4.0 + 7.0 + 8.0 + 9.0) / 6.0
            ]
        );
        let mut whole = [0.0; 5];
        pixel_row(&plate, 5, 4, &mut whole);
        assert_eq!(whole, plate[20..25]);
    }

    #[test]
    fn a_png_holds_what_was_painted() {
        let mut file = Vec::new();
        write_png(&mut file, &[0.0, 50.0, 75.0, 100.0], 2, 100.0).unwrap();
        let mut reader = png::Decoder::new(io::Cursor::new(file))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(
            (info.width, info.height, info.color_type),
            (2, 2, png::ColorType::Rgb)
        );
        let map = ColourMap::default();
        assert_eq!(
            pixels,
            [0.0, 0.5, 0.75, 1.0].map(|value| map.of(value)).concat()
        );
    }
}

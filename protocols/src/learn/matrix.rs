//! Symmetric matrices from released triangles, and their eigenvectors; by `nalgebra`.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

/// Sweeps after which an eigenvalue problem is given up; a matrix of d rows needs some 2·d.
const MOST_SWEEPS: usize = 100_000;

/// The symmetric matrix whose upper triangle, row by row, is `upper`; entries that are lacking are 0.
pub(super) fn from_upper(dims: usize, upper: impl IntoIterator<Item = f64>) -> DMatrix<f64> {
    let mut matrix = DMatrix::zeros(dims, dims);
    let places = (0..dims).flat_map(|i| (i..dims).map(move |j| (i, j)));
    for ((i, j), value) in places.zip(upper) {
        set(&mut matrix, i, j, value);
    }
    matrix
}

/// Sets an entry and its mirror image.
pub(super) fn set(matrix: &mut DMatrix<f64>, i: usize, j: usize, value: f64) {
    matrix[(i, j)] = value;
    matrix[(j, i)] = value;
}

/// Σ f(μ)·v·(v·b) over the eigenvalues μ and eigenvectors v of a symmetric matrix: 1/μ for f solves it, 1/(μ + λ) is
/// ridge regression. `None` if that is not finite.
pub(super) fn filter(matrix: DMatrix<f64>, b: &DVector<f64>, f: impl Fn(f64) -> f64) -> Option<Vec<f64>> {
    if matrix.nrows() != b.len() || matrix.iter().chain(b.iter()).any(|value| !value.is_finite()) {
        return None;
    }
    if b.is_empty() {
        return Some(Vec::new());
    }
    let eigen = SymmetricEigen::try_new(matrix, f64::EPSILON, MOST_SWEEPS)?;
    let mut solution = DVector::zeros(b.len());
    for (value, vector) in eigen.eigenvalues.iter().zip(eigen.eigenvectors.column_iter()) {
        solution.axpy(f(*value) * vector.dot(b), &vector, 1.0);
    }
    solution.iter().all(|value| value.is_finite()).then(|| solution.as_slice().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_solve_what_can_be_solved() {
        // [[2, 1], [1, 3]]·(1, −1) = (1, −2).
        let matrix = from_upper(2, [2.0, 1.0, 3.0]);
        let solved = filter(matrix.clone(), &DVector::from_vec(vec![1.0, -2.0]), |value| 1.0 / value).unwrap();
        assert!((solved[0] - 1.0).abs() < 1e-12 && (solved[1] + 1.0).abs() < 1e-12);
        assert_eq!(filter(matrix.clone(), &DVector::from_vec(vec![1.0]), |value| value), None);
        assert_eq!(filter(matrix.clone(), &DVector::from_vec(vec![1.0, f64::NAN]), |value| value), None);
        assert_eq!(filter(matrix * f64::INFINITY, &DVector::from_vec(vec![1.0, 1.0]), |value| value), None);
        assert_eq!(filter(from_upper(0, []), &DVector::from_vec(vec![]), |value| value), Some(vec![]));
        let singular = from_upper(3, [1.0, 1.0, 0.0, 1.0, 0.0]);
        let projected = filter(singular, &DVector::from_vec(vec![1.0, 1.0, 5.0]), |v| v / (v * v + 1e-20)).unwrap();
        assert!((projected[0] - 0.5).abs() < 1e-9 && projected[2].abs() < 1e-9);
    }
}

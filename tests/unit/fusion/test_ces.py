from __future__ import annotations

import numpy as np
import pytest

from modicum.core.catalogue import fetch
from modicum.errors import DataError
from modicum.fusion.readers.catalogue import SYSTEMS, TARGETS, CesSequence, read_ces

# Section 8.2 of the specification and the notes of the catalogue: arousal, valence, liking.
PUBLISHED = {
    "deepspectrum": (0.312, 0.233, 0.142),
    "egemaps-func_STD": (0.371, 0.286, 0.159),
    "egemaps-xbow": (0.398, 0.352, 0.138),
    "mfcc-func_STD": (0.326, 0.187, 0.144),
    "mfcc-xbow": (0.298, 0.134, 0.074),
    "visual-func": (0.531, 0.565, 0.083),
    "visual-resnet": (0.473, 0.487, 0.040),
    "visual-vgg": (0.493, 0.505, 0.037),
    "visual-xbow": (0.467, 0.523, 0.057),
    "svr": (0.614, 0.615, 0.222),
}
MEAN_OF_NINE = (0.559, 0.522, 0.182)


@pytest.fixture(scope="module")
def sequences() -> tuple[CesSequence, ...]:
    return read_ces(fetch("avec2019-ces"))


def concordance(first, second):
    # As the challenge: variances with ddof 1, covariance with ddof 0.
    first, second = first.astype(np.float64), second.astype(np.float64)
    covariance = np.mean((first - first.mean()) * (second - second.mean()))
    apart = (first.mean() - second.mean()) ** 2
    return 2 * covariance / (first.var(ddof=1) + second.var(ddof=1) + apart)


@pytest.mark.data("avec2019-ces")
def test_sequences_are_read_by_language_and_cut_to_their_labels(sequences):
    assert [sequence.language for sequence in sequences] == ["de"] * 14 + ["hu"] * 14
    assert sequences[0].name == "Devel_DE_01"
    assert sum(len(sequence.labels) for sequence in sequences) == 40_032
    for sequence in sequences:
        assert sequence.predictions.shape == (len(sequence.labels), len(SYSTEMS), len(TARGETS))


@pytest.mark.data("avec2019-ces")
def test_the_published_concordance_of_all_systems_is_reproduced(sequences):  # CUBEMLP-C9
    labels = np.concatenate([sequence.labels for sequence in sequences])
    predictions = np.concatenate([sequence.predictions for sequence in sequences])
    for place, system in enumerate(SYSTEMS):
        found = [concordance(labels[:, target], predictions[:, place, target]) for target in range(3)]
        np.testing.assert_allclose(found, PUBLISHED[system], atol=0.0005, err_msg=system)  # three digits
    nine = predictions[:, [place for place, system in enumerate(SYSTEMS) if system != "svr"]].mean(axis=1)
    found = [concordance(labels[:, target], nine[:, target]) for target in range(3)]
    np.testing.assert_allclose(found, MEAN_OF_NINE, atol=0.0005)


def write(folder, times=("0.0", "0.1"), *, of_predictions=("0.0", "0.1", "0.2"), cells=";0;0;0"):
    names = [("labels_devel", times)]
    names += [(f"baseline_predictions/predictions_{system}", of_predictions) for system in SYSTEMS]
    for name, stamps in names:
        (folder / name).mkdir(parents=True)
        rows = "".join(f"'Devel_HU_01';{stamp}{cells}\n" for stamp in stamps)
        (folder / name / "Devel_HU_01.csv").write_text("name;timestamp" + ";value" * cells.count(";") + "\n" + rows)


def test_predictions_at_other_times_are_refused(tmp_path):
    write(tmp_path, of_predictions=("0.0", "0.2", "0.3"))
    with pytest.raises(DataError, match=r"deepspectrum.* has other times than"):
        read_ces(tmp_path)


def test_predictions_that_end_before_the_labels_are_refused(tmp_path):
    write(tmp_path, of_predictions=("0.0",))
    with pytest.raises(DataError, match="has other times than"):
        read_ces(tmp_path)


def test_a_folder_or_table_of_another_form_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no file labels_devel"):
        read_ces(tmp_path)
    write(tmp_path, cells=";0;0;0;0")
    with pytest.raises(DataError, match="has 6 columns"):
        read_ces(tmp_path)

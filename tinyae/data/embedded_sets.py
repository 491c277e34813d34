"""The rows of the catalogue that travel with the package: small sets whose licences allow it."""

from __future__ import annotations

from tinyae.data.entry import Entry

DIGITS = tuple("0123456789")
GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

EMBEDDED_SETS = (
    Entry(
        name="fashion-mini",
        title="Fashion-MNIST, the first 400 + 100 images of each class",
        kind="images",
        counts=(4000, 1000),
        shape=(28, 28, 1),
        size=2_179_003,
        unit="gray levels",
        scale=255.0,
        licence="MIT, (c) 2017 Zalando SE",
        source="https://github.com/zalandoresearch/fashion-mnist",
        notes="The first images of each class of the training and of the test set, in their original order.",
        class_names=GARMENTS,
        files=(
            "fashion-mini-train-images-idx3-ubyte.gz",
            "fashion-mini-train-labels-idx1-ubyte.gz",
            "fashion-mini-t10k-images-idx3-ubyte.gz",
            "fashion-mini-t10k-labels-idx1-ubyte.gz",
        ),
    ),
    Entry(
        name="optdigits",
        title="handwritten digits, 8 x 8 counts of ink",
        kind="images",
        counts=(3823, 1797),
        shape=(8, 8, 1),
        size=142_073,
        unit="dark pixels of a 4 x 4 block",
        scale=16.0,
        licence="CC BY 4.0, E. Alpaydin and C. Kaynak 1998",
        source="UCI Machine Learning Repository, optdigits",
        notes="Training and test digits come from different writers. Test is scikit-learn's load_digits.",
        class_names=DIGITS,
        files=("optdigits.npz",),
    ),
    Entry(
        name="pendigits",
        title="pen strokes of handwritten digits, 8 points (x, y) each",
        kind="sequences",
        counts=(7494, 3498),
        shape=(8, 2),
        size=143_167,
        unit="tablet units",
        scale=100.0,
        licence="CC BY 4.0, E. Alpaydin and F. Alimoglu 1998",
        source="UCI Machine Learning Repository, https://doi.org/10.24432/C5MG6K",
        notes="Points at equal distances along the stroke. Training and test are of different writers.",
        class_names=DIGITS,
        files=("pendigits.npz",),
        feature_names=("x", "y"),
    ),
    Entry(
        name="nyc-taxi",
        title="taxi passengers in New York City, 215 days of 48 half hours",
        kind="series",
        counts=(121, 94),
        shape=(48, 1),
        size=20_114,
        unit="passengers per half hour",
        scale=30000.0,
        licence="MIT, (c) 2014-2024 Numenta Inc.",
        source="https://github.com/numenta/NAB, realKnownCause/nyc_taxi.csv",
        notes="Days from midnight to midnight: train is 2014-07-01 to 2014-10-29, before any anomaly; "
        "test is 2014-10-30 to 2015-01-31 and holds all five (marathon, Thanksgiving, Christmas, New Year, "
        "snow storm). "
        "Values reach 1.01 in train and 1.31 in test.",
        files=("nyc_taxi.npz",),
    ),
    Entry(
        name="ecg208",
        title="electrocardiogram, 300 windows of one second",
        kind="series",
        counts=(240, 60),
        shape=(360, 1),
        size=119_035,
        unit="mV",
        scale=1.0,
        licence="ODC PDDL / ODC-By 1.0",
        source="MIT-BIH Arrhythmia Database, record 208 (Moody and Mark 2001, "
        "https://doi.org/10.13026/C2F305; PhysioNet, Goldberger et al. 2000), by way of SciPy",
        notes="Five minutes at 360 Hz, cut into windows of 360 samples that neither overlap nor follow the "
        "beats: train is the first four minutes, test the last. Values run from about -3.5 to 3.7 mV.",
        files=("ecg208.npz",),
    ),
    Entry(
        name="natural-images",
        title="eight photographs in gray",
        kind="images",
        counts=(6, 2),
        shape=(256, 256, 1),
        size=402_317,
        unit="gray levels",
        scale=255.0,
        licence="CC0 / public domain",
        source="photographers and agencies named in DATA_LICENSES",
        notes="For patches. Train: camera, astronaut, coffee, chelsea, face, ascent; test: rocket, grass.",
        files=("natural_gray256.npz",),
    ),
    Entry(
        name="natural-patches",
        title="whitened 8 x 8 patches of the eight photographs",
        kind="images",
        counts=(10000, 2000),
        shape=(8, 8, 1),
        size=402_317,
        unit="standard deviations of a whitened patch",
        scale=7.5,
        licence="CC0 / public domain",
        source="photographers and agencies named in DATA_LICENSES",
        notes="For sparse codes (Olshausen and Field 1996; the UFLDL exercise). Cut at random, always at the same "
        "places: train from the left three quarters of every photograph, test from the right one. Each patch less "
        "its mean, cut off at 3 standard deviations, moved to [0.1, 0.9].",
        files=("natural_gray256.npz",),
    ),
    Entry(
        name="moving-digits",
        title="one handwritten digit moving over 32 x 32 pixels, 10 frames",
        kind="sequences",
        counts=(2000, 500),
        shape=(10, 1024),
        size=142_073,
        unit="gray levels",
        scale=1.0,
        licence="CC BY 4.0, E. Alpaydin and C. Kaynak 1998",
        source="UCI Machine Learning Repository, optdigits; films as in Srivastava et al. 2015, arXiv:1502.04681",
        notes="Made from optdigits, digits of 16 x 16 pixels, always the same films. The last 5 frames are the future. "
        "Other sizes and sets: tinyae.data.moving_digits.",
        class_names=DIGITS,
        files=("optdigits.npz",),
        films={"source": "optdigits", "digit_size": 16},
    ),
)

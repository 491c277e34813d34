"""The catalog: what is known about every data set before it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyae.data.dataset import Incident, Kind, Timeline, by

# ---------------------------------------------------------------------------------------------------------------------
# `Entry`: one row of the catalog, and the files of a full set.


@dataclass(frozen=True)
class RemoteFile:
    """One file of a full set.

    Attributes:
        role: "train_x", "train_y", "test_x" or "test_y"; "train" or "test" for a file that holds both.
        stem: the file name without `.gz`.
        payload_bytes: its size uncompressed.
        archive_hash: `algorithm:hexdigest` of the published `.gz`, what a download is checked against; "" where there
            is no download of the single file.
        payload_sha256: SHA-256 of the uncompressed content, or None where nobody published one.
    """

    role: str
    stem: str
    payload_bytes: int
    archive_hash: str
    payload_sha256: str | None = None


@dataclass(frozen=True)
class Entry:
    """One row of the catalog. Attributes as in `Dataset`; besides:

    Attributes:
        counts: examples in (train, test).
        shape: shape of one example.
        size: bytes on disk (embedded) or of the download.
        embedded: True if the set is part of the package.
        files: names of the embedded files.
        remote: the files of a full set, and
        urls: the addresses they are fetched from, in the order they are tried (`url + stem + ".gz"`).
        alternative: name of the embedded set to use where a full one cannot be had.
        films: of a set that `moving_digits` makes, its source and its `digit_size`.
    """

    name: str
    title: str
    kind: Kind
    counts: tuple[int, int]
    shape: tuple[int, ...]
    size: int
    license: str
    source: str
    unit: str
    scale: float
    notes: str = ""
    class_names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    remote: tuple[RemoteFile, ...] = ()
    urls: tuple[str, ...] = ()
    alternative: str = ""
    films: tuple[str, int] | None = None
    feature_names: tuple[str, ...] = ()
    timeline: Timeline | None = None

    @property
    def embedded(self) -> bool:
        """True if the set is part of the package."""
        return bool(self.files)

    @property
    def where(self) -> str:
        """Where it comes from, in a word: embedded, download, or on disk for files that no address hands out singly."""
        if self.embedded:
            return "embedded"
        return "download" if self.urls or self.films else "on disk"


# ---------------------------------------------------------------------------------------------------------------------
# The rows of the catalog that travel with the package: small sets whose licenses allow it.

DIGITS = tuple("0123456789")
GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

EMBEDDED_SETS = (
    Entry(
        name="fashion-mini", title="Fashion-MNIST, the first 400 + 100 images of each class",
        kind="images", counts=(4000, 1000), shape=(28, 28, 1), size=2_179_003,
        unit="gray levels", scale=255.0, license="MIT, (c) 2017 Zalando SE",
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
        name="optdigits", title="handwritten digits, 8 x 8 counts of ink",
        kind="images", counts=(3823, 1797), shape=(8, 8, 1), size=142_073,
        unit="dark pixels of a 4 x 4 block", scale=16.0, license="CC BY 4.0, E. Alpaydin and C. Kaynak 1998",
        source="UCI Machine Learning Repository, optdigits",
        notes="Training and test digits come from different writers. Test is scikit-learn's load_digits.",
        class_names=DIGITS, files=("optdigits.npz",),
    ),
    Entry(
        name="pendigits", title="pen strokes of handwritten digits, 8 points (x, y) each",
        kind="sequences", counts=(7494, 3498), shape=(8, 2), size=143_167,
        unit="tablet units", scale=100.0, license="CC BY 4.0, E. Alpaydin and F. Alimoglu 1998",
        source="UCI Machine Learning Repository, https://doi.org/10.24432/C5MG6K",
        notes="Points at equal distances along the stroke. Training and test are of different writers.",
        class_names=DIGITS, files=("pendigits.npz",), feature_names=("x", "y"),
    ),
    Entry(
        name="nyc-taxi", title="taxi passengers in New York City, 215 days of 48 half hours",
        kind="series", counts=(121, 94), shape=(48, 1), size=20_114,
        unit="passengers per half hour", scale=30000.0, license="MIT, (c) 2014-2024 Numenta Inc.",
        source="https://github.com/numenta/NAB, realKnownCause/nyc_taxi.csv",
        notes="Days from midnight to midnight: train is 2014-07-01 to 2014-10-29, before any anomaly; "
        "test is 2014-10-30 to 2015-01-31 and holds all five (marathon, Thanksgiving, Christmas, New Year, "
        "snow storm). Values reach 1.01 in train and 1.31 in test.",
        files=("nyc_taxi.npz",),
        timeline=Timeline(
            "2014-07-01T00:00",
            86_400,
            incidents=(  # the windows published with it: NAB, labels/combined_windows.json
                Incident("marathon", "2014-10-30T15:30", "2014-11-03T22:30"),
                Incident("Thanksgiving", "2014-11-25T12:00", "2014-11-29T19:00"),
                Incident("Christmas", "2014-12-23T11:30", "2014-12-27T18:30"),
                Incident("New Year", "2014-12-29T21:30", "2015-01-03T04:30"),
                Incident("snow storm", "2015-01-24T20:30", "2015-01-29T03:30"),
            ),
        ),
    ),
    Entry(
        name="ecg208", title="electrocardiogram, 300 windows of one second",
        kind="series", counts=(240, 60), shape=(360, 1), size=119_035,
        unit="mV", scale=1.0, license="ODC PDDL / ODC-By 1.0",
        source="MIT-BIH Arrhythmia Database, record 208 (Moody and Mark 2001, "
        "https://doi.org/10.13026/C2F305; PhysioNet, Goldberger et al. 2000), by way of SciPy",
        notes="Five minutes at 360 Hz, cut into windows of 360 samples that neither overlap nor follow the "
        "beats: train is the first four minutes, test the last. Values run from about -3.5 to 3.7 mV.",
        files=("ecg208.npz",),
        timeline=Timeline("1970-01-01T00:00:00", 1, counted=True),
    ),
    Entry(
        name="natural-images", title="eight photographs in gray",
        kind="images", counts=(6, 2), shape=(256, 256, 1), size=402_317,
        unit="gray levels", scale=255.0, license="CC0 / public domain",
        source="photographers and agencies named in DATA_LICENSES",
        notes="For patches. Train: camera, astronaut, coffee, chelsea, face, ascent; test: rocket, grass.",
        files=("natural_gray256.npz",),
    ),
    Entry(
        name="natural-patches", title="whitened 8 x 8 patches of the eight photographs",
        kind="images", counts=(10000, 2000), shape=(8, 8, 1), size=402_317,
        unit="standard deviations of a whitened patch", scale=7.5, license="CC0 / public domain",
        source="photographers and agencies named in DATA_LICENSES",
        notes="For sparse codes (Olshausen and Field 1996; the UFLDL exercise). Cut at random, always at the same "
        "places: train from the left three quarters of every photograph, test from the right one. Each patch less "
        "its mean, cut off at 3 standard deviations, moved to [0.1, 0.9].",
        files=("natural_gray256.npz",),
    ),
    Entry(
        name="moving-digits", title="one handwritten digit moving over 32 x 32 pixels, 10 frames",
        kind="sequences", counts=(2000, 500), shape=(10, 1024), size=142_073,
        unit="gray levels", scale=1.0, license="CC BY 4.0, E. Alpaydin and C. Kaynak 1998",
        source="UCI Machine Learning Repository, optdigits; films as in Srivastava et al. 2015, arXiv:1502.04681",
        notes="Made from optdigits, digits of 16 x 16 pixels, always the same films. The last 5 frames are the future. "
        "Other sizes and sets: tinyae.data.moving_digits.",
        class_names=DIGITS, files=("optdigits.npz",), films=("optdigits", 16),
    ),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The rows of the catalog that are found on disk or downloaded, each file with the SHA-256 of its content.

MNIST_STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MNIST_BYTES = (47_040_016, 60_008, 7_840_016, 10_008)


def _idx_files(
    stems: Sequence[str], sizes: Sequence[int], archives: Sequence[str], payloads: Sequence[str | None] = (None,) * 4
) -> tuple[RemoteFile, ...]:
    """The four files of a set of images: training images and labels, test images and labels."""
    return tuple(map(RemoteFile, ("train_x", "train_y", "test_x", "test_y"), stems, sizes, archives, payloads))


FULL_SETS = (
    Entry(
        name="mnist", title="handwritten digits",
        kind="images", counts=(60000, 10000), shape=(28, 28, 1), size=11_594_722,
        unit="gray levels", scale=255.0, license="none stated by its authors; CC BY-SA 3.0 is commonly claimed",
        source="Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, 1998",
        class_names=DIGITS,
        remote=_idx_files(
            MNIST_STEMS,
            MNIST_BYTES,
            archives=(
                "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
            payloads=(
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        urls=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://raw.githubusercontent.com/fgnt/mnist/master/",
        ),
        alternative="fashion-mini",
    ),
    Entry(
        name="fashion-mnist", title="garments from a shop's catalog",
        kind="images", counts=(60000, 10000), shape=(28, 28, 1), size=30_878_645,
        unit="gray levels", scale=255.0, license="MIT, (c) 2017 Zalando SE",
        source="https://github.com/zalandoresearch/fashion-mnist",
        class_names=GARMENTS,
        remote=_idx_files(
            MNIST_STEMS,
            MNIST_BYTES,
            archives=(
                "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
            payloads=(
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
        urls=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        alternative="fashion-mini",
    ),
    Entry(
        name="qmnist", title="MNIST rebuilt from NIST's originals, with 60000 test digits",
        kind="images", counts=(60000, 60000), shape=(28, 28, 1), size=20_000_000,
        unit="gray levels", scale=255.0, license="BSD style, Facebook Inc.",
        source="C. Yadav and L. Bottou 2019, https://github.com/facebookresearch/qmnist",
        notes="The first 10000 test digits are those of MNIST. The size of the download is approximate.",
        class_names=DIGITS,
        remote=_idx_files(
            (
                "qmnist-train-images-idx3-ubyte",
                "qmnist-train-labels-idx2-int",
                "qmnist-test-images-idx3-ubyte",
                "qmnist-test-labels-idx2-int",
            ),
            (47_040_016, 1_920_012, 47_040_016, 1_920_012),
            archives=(
                "md5:ed72d4157d28c017586c42bc6afe6370",
                "md5:0058f8dd561b90ffdd0f734c6a30e5e4",
                "md5:1394631089c404de565df7b7aeaf9412",
                "md5:5b5b05890a5e13444e108efe57b788aa",
            ),
        ),
        urls=("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
        alternative="fashion-mini",
    ),
    Entry(
        name="moving-mnist", title="one handwritten digit moving over 32 x 32 pixels, 10 frames",
        kind="sequences", counts=(8000, 1000), shape=(10, 1024), size=11_594_722,
        unit="gray levels", scale=1.0, license="that of mnist",
        source="mnist; films as in Srivastava et al. 2015, arXiv:1502.04681",
        notes="Made from mnist, digits of 14 x 14 pixels: the paper's films at half the size, with one digit. Always the "
        "same films. The last 5 frames are the future. Other sizes: tinyae.data.moving_digits.",
        class_names=DIGITS, alternative="moving-digits", films=("mnist", 14),
    ),
    Entry(
        name="japanese-vowels", title="two vowels of nine speakers, 7 to 29 steps of 12 numbers",
        kind="sequences", counts=(270, 370), shape=(29, 12), size=1_137_103,
        unit="cepstrum coefficients", scale=1.0, license="CC BY 4.0, M. Kudo, J. Toyama and M. Shimbo 1999",
        source="UCI Machine Learning Repository, https://doi.org/10.24432/C5NS47; the UEA archive's .ts files",
        notes="Sequences of unequal length, padded with zeros. The class is the speaker.",
        class_names=tuple(f"speaker {n}" for n in range(1, 10)),
        remote=(
            RemoteFile("train", "JapaneseVowels_TRAIN.ts", 487_971, "",
                       "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd"),
            RemoteFile("test", "JapaneseVowels_TEST.ts", 649_132, "",
                       "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"),
        ),
        alternative="pendigits",
    ),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The one table of data sets that can be asked for by name.
#
# Two sorts of rows. The embedded ones (`EMBEDDED_SETS`) travel with the package: they are small, their licenses allow it,
# and they work offline. The full ones (`FULL_SETS`) are found on disk or downloaded (`lookup`), each file checked against
# the SHA-256 of its uncompressed content, since the same content is packed differently by different sites. A mini
# set has a name of its own and never stands in for the full one. Sources and licenses in full:
# `embedded/DATA_LICENSES`.

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in (*EMBEDDED_SETS, *FULL_SETS)}


def names() -> tuple[str, ...]:
    """The names `load` knows: the embedded sets first."""
    return tuple(ENTRIES)


def canonical(name: str) -> str:
    """A name as the catalog writes it: case, and `_` for `-`, do not matter."""
    return name.strip().lower().replace("_", "-")


def describe() -> str:
    """A table of all data sets: name, kind, training and test examples, their shape, size, where from, and title."""
    return "\n".join(
        f"{row.name:<15} {row.kind:<10} {row.counts[0]:>6,} + {row.counts[1]:<6,} of {by(row.shape):<13} "
        f"{megabytes(row.size):>8}  {row.where:<8}  {row.title}"
        for row in ENTRIES.values()
    )


def megabytes(size: int) -> str:
    """A size for people: `11.6 MB`, or kB below one tenth of that."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"

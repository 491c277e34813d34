"""The rows of the catalogue that are found on disk or downloaded, each file with the SHA-256 of its content."""

from __future__ import annotations

from tinyae.data.embedded_sets import DIGITS, GARMENTS
from tinyae.data.entry import Entry, RemoteFile

IMAGES_BYTES, LABELS_BYTES = 47_040_016, 60_008
SMALL_IMAGES_BYTES, SMALL_LABELS_BYTES = 7_840_016, 10_008
QMNIST_LABELS_BYTES = 1_920_012

FULL_SETS = (
    Entry(
        name="mnist",
        title="handwritten digits",
        kind="images",
        counts=(60000, 10000),
        shape=(28, 28, 1),
        size=11_594_722,
        unit="gray levels",
        scale=255.0,
        licence="none stated by its authors; CC BY-SA 3.0 is commonly claimed",
        source="Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, 1998",
        class_names=DIGITS,
        remote=(
            RemoteFile(
                "train_x",
                "train-images-idx3-ubyte",
                IMAGES_BYTES,
                "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            RemoteFile(
                "train_y",
                "train-labels-idx1-ubyte",
                LABELS_BYTES,
                "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            RemoteFile(
                "test_x",
                "t10k-images-idx3-ubyte",
                SMALL_IMAGES_BYTES,
                "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            RemoteFile(
                "test_y",
                "t10k-labels-idx1-ubyte",
                SMALL_LABELS_BYTES,
                "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
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
        name="fashion-mnist",
        title="garments from a shop's catalogue",
        kind="images",
        counts=(60000, 10000),
        shape=(28, 28, 1),
        size=30_878_645,
        unit="gray levels",
        scale=255.0,
        licence="MIT, (c) 2017 Zalando SE",
        source="https://github.com/zalandoresearch/fashion-mnist",
        class_names=GARMENTS,
        remote=(
            RemoteFile(
                "train_x",
                "train-images-idx3-ubyte",
                IMAGES_BYTES,
                "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            RemoteFile(
                "train_y",
                "train-labels-idx1-ubyte",
                LABELS_BYTES,
                "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            RemoteFile(
                "test_x",
                "t10k-images-idx3-ubyte",
                SMALL_IMAGES_BYTES,
                "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            RemoteFile(
                "test_y",
                "t10k-labels-idx1-ubyte",
                SMALL_LABELS_BYTES,
                "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
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
        name="qmnist",
        title="MNIST rebuilt from NIST's originals, with 60000 test digits",
        kind="images",
        counts=(60000, 60000),
        shape=(28, 28, 1),
        size=20_000_000,
        unit="gray levels",
        scale=255.0,
        licence="BSD style, Facebook Inc.",
        source="C. Yadav and L. Bottou 2019, https://github.com/facebookresearch/qmnist",
        notes="The first 10000 test digits are those of MNIST. The size of the download is approximate.",
        class_names=DIGITS,
        remote=(
            RemoteFile(
                "train_x", "qmnist-train-images-idx3-ubyte", IMAGES_BYTES, "md5:ed72d4157d28c017586c42bc6afe6370"
            ),
            RemoteFile(
                "train_y",
                "qmnist-train-labels-idx2-int",
                QMNIST_LABELS_BYTES,
                "md5:0058f8dd561b90ffdd0f734c6a30e5e4",
            ),
            RemoteFile("test_x", "qmnist-test-images-idx3-ubyte", IMAGES_BYTES, "md5:1394631089c404de565df7b7aeaf9412"),
            RemoteFile(
                "test_y", "qmnist-test-labels-idx2-int", QMNIST_LABELS_BYTES, "md5:5b5b05890a5e13444e108efe57b788aa"
            ),
        ),
        urls=("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
        alternative="fashion-mini",
    ),
    Entry(
        name="moving-mnist",
        title="one handwritten digit moving over 32 x 32 pixels, 10 frames",
        kind="sequences",
        counts=(8000, 1000),
        shape=(10, 1024),
        size=11_594_722,
        unit="gray levels",
        scale=1.0,
        licence="that of mnist",
        source="mnist; films as in Srivastava et al. 2015, arXiv:1502.04681",
        notes="Made from mnist, digits of 14 x 14 pixels: the paper's films at half the size, with one digit. Always the "
        "same films. The last 5 frames are the future. Other sizes: tinyae.data.moving_digits.",
        class_names=DIGITS,
        alternative="moving-digits",
        films={"source": "mnist", "digit_size": 14},
    ),
    Entry(
        name="japanese-vowels",
        title="two vowels of nine speakers, 7 to 29 steps of 12 numbers",
        kind="sequences",
        counts=(270, 370),
        shape=(29, 12),
        size=1_137_103,
        unit="cepstrum coefficients",
        scale=1.0,
        licence="CC BY 4.0, M. Kudo, J. Toyama and M. Shimbo 1999",
        source="UCI Machine Learning Repository, https://doi.org/10.24432/C5NS47; the UEA archive's .ts files",
        notes="Sequences of unequal length, padded with zeros. The class is the speaker.",
        class_names=tuple(f"speaker {n}" for n in range(1, 10)),
        remote=(
            RemoteFile(
                "train",
                "JapaneseVowels_TRAIN.ts",
                487_971,
                "",
                "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
            ),
            RemoteFile(
                "test",
                "JapaneseVowels_TEST.ts",
                649_132,
                "",
                "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
            ),
        ),
        alternative="pendigits",
    ),
)

"""Compiles the modules of memrouter.native. Without a C compiler, Python does what they do."""

from Cython.Build import cythonize
from setuptools import Extension, setup

FOLDER = "src/memrouter/native"
NAMES = ("text", "turns")

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"memrouter.native.{name}",
                [f"{FOLDER}/{name}.pyx"],
                extra_compile_args=["-O3"],
                optional=True,
            )
            for name in NAMES
        ],
        build_dir="build/cython",
        language_level=3,
    )
)

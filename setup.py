"""Compiles the modules of memrouter.native. Without a C compiler, Python does what they do."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCES = sorted(Path("src/memrouter/native").glob("*.pyx"))

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"memrouter.native.{source.stem}",
                [str(source)],
                extra_compile_args=["-O3", "-fno-trapping-math", "-fno-math-errno"],
                optional=True,
            )
            for source in SOURCES
        ],
        build_dir="build/cython",
        language_level=3,
    )
)

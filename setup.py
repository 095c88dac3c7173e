"""The one compiled part, which the package works without; everything else stands in setup.cfg."""

from setuptools import Extension, setup

HERE = "memformer/memory/"

setup(
    ext_modules=[
        Extension(
            "memformer.memory._fused",
            [HERE + name for name in ("_fused.cpp", "_token.cpp", "_window.cpp")],
            depends=[HERE + name for name in ("_threads.h", "_tiles.h")],
            language="c++",
            extra_compile_args=["-O3", "-std=c++17", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,  # without a compiler the build goes on
        )
    ]
)

"""The one compiled part, which the package works without; everything else stands in setup.cfg."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "memformer.memory._fused",
            ["memformer/memory/_fused.cpp", "memformer/memory/_token.cpp"],
            language="c++",
            extra_compile_args=["-O3", "-std=c++17", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,  # without a compiler the build goes on
        )
    ]
)

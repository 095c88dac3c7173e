"""PlotBench: does a model keep the plot straight over a whole novel?"""

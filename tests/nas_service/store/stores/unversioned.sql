BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE nas_archive (
	study_id INTEGER NOT NULL, 
	digest VARCHAR(16) NOT NULL, 
	trial INTEGER NOT NULL, 
	outcome VARCHAR(12) NOT NULL, 
	metrics TEXT NOT NULL, 
	evaluation TEXT NOT NULL, 
	test_accuracy FLOAT, 
	PRIMARY KEY (study_id, digest)
);
INSERT INTO "nas_archive" VALUES(1,'2e243e334fe0ffb5',0,'rejected','{"parameters": 6034.0, "memory_KiB": 5.9658203125, "area_mm2": 3.3146774335427125, "latency_ms": 0.053248000000000004, "energy_uJ": 0.03350972046604137, "energy_dense_uJ": 0.30780132009096145, "throughput_per_s": 18780.048076923074, "power_mW": 0.6293141613965101, "energy_delay_nJs": 0.001784325595375771, "crossbars": 49.0, "tiles": 5.0, "utilisation": 0.17625956632653061}','{"architecture": {"cells": [{"01": "zeroize", "02": "conv3x3", "03": "zeroize", "12": "conv3x3", "13": "zeroize", "23": "zeroize"}, {"01": "skip", "02": "zeroize", "03": "skip", "12": "skip", "13": "zeroize", "23": "conv3x3"}], "channels": 8, "head_pool": 2, "hidden": 32, "time_steps": 3, "weight_bits": 4}, "outcome": "rejected", "hardware": {"profile": "corrected", "parameters": 6034, "crossbars": 49, "tiles": 5, "interval_s": 5.3248e-05, "rows": ["stem", "reduction0", "cell1.edge23", "hidden", "readout", "shared"], "warnings": [], "mapping": {"crossbars": [9, 18, 18, 3, 1], "pes": [1, 2, 2, 1, 1], "utilisation": [0.01171875, 0.09375, 0.1875, 1.0, 0.46875], "lossless_adc_bits": [1, 4, 5, 7, 6], "start_s": [0.0, 0.0, 4.992000000000001e-06, 6.656e-06, 6.968e-06], "end_s": [5.3248e-05, 1.9968000000000003e-05, 2.0072e-05, 2.0280000000000002e-05, 2.0384e-05]}, "memory_B": {"components": ["parameters", "neuron_state", "spike_buffer"], "values": [[44.0, 0.0, 64.0], [600.0, 1408.0, 64.0], [1168.0, 704.0, 32.0], [1040.0, 704.0, 24.0], [165.0, 88.0, 4.0], [0.0, 0.0, 0.0]]}, "area_m2": {"components": ["crossbar", "adc", "mux", "subtractor", "adder", "temp_buffer", "tile_buffer", "h_tree", "input_memory", "neuron_memory"], "values": [[2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 3.784192e-10, 0.0], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 3.784192e-10, 8.3252224e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 1.892096e-10, 4.1626112e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 1.419072e-10, 4.1626112e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 2.36512e-11, 5.203264e-10], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]}, "latency_s": {"components": ["fill", "steady"], "values": [[5.3248e-05, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]}, "energy_J": {"components": ["crossbar", "adc", "mux", "subtractor", "adder", "tile_buffer", "h_tree", "sum_wires", "network", "neuron_memory", "neuron", "elementwise"], "values": [[0.0, 0.0, 0.0, 0.0, 0.0, 9.58464e-10, 4.527229028383183e-10, 0.0, 1.509076342794394e-10, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 2.2763519999999997e-09, 1.358168708514955e-09, 0.0, 7.54538171397197e-11, 1.0543103999999999e-08, 1.9568640000000002e-09, 1.9007999999999998e-10], [0.0, 0.0, 0.0, 0.0, 0.0, 1.1980799999999999e-09, 6.790843542574775e-10, 0.0, 7.54538171397197e-11, 5.2715519999999995e-09, 9.784320000000001e-10, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0483199999999999e-10, 5.6590362854789786e-11, 0.0, 9.431727142464963e-12, 5.2715519999999995e-09, 9.784320000000001e-10, 1.1088e-10], [0.0, 0.0, 0.0, 0.0, 0.0, 1.9655999999999998e-11, 9.431727142464963e-12, 0.0, 2.9474147320203014e-12, 6.589439999999999e-10, 1.2230400000000002e-10, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]}, "dense_energy_J": {"components": ["crossbar", "adc", "mux", "subtractor", "adder", "tile_buffer", "h_tree", "sum_wires", "network", "neuron_memory", "neuron", "elementwise"], "values": [[7.62200064e-10, 8.8530223104e-08, 2.0845486079999997e-08, 1.65888e-09, 4.128e-09, 9.58464e-10, 4.527229028383183e-10, 2.173069933623928e-08, 1.509076342794394e-10, 0.0, 0.0, 0.0], [4.573200383999999e-09, 6.6397667328e-08, 1.563411456e-08, 1.24416e-09, 2.9951999999999997e-09, 2.2763519999999997e-09, 1.358168708514955e-09, 1.6298024502179456e-08, 7.54538171397197e-11, 1.0543103999999999e-08, 1.9568640000000002e-09, 1.9007999999999998e-10], [2.2866001919999996e-09, 1.6599416832e-08, 3.90852864e-09, 3.1104e-10, 7.487999999999999e-10, 1.1980799999999999e-09, 6.790843542574775e-10, 4.074506125544864e-09, 7.54538171397197e-11, 5.2715519999999995e-09, 9.784320000000001e-10, 0.0], [3.81100032e-10, 6.91642368e-10, 1.6285535999999998e-10, 1.296e-11, 1.7279999999999997e-11, 1.0483199999999999e-10, 5.6590362854789786e-11, 1.6977108856436936e-10, 9.431727142464963e-12, 5.2715519999999995e-09, 9.784320000000001e-10, 1.1088e-10], [1.984896e-11, 7.204608e-11, 1.69641e-11, 1.35e-12, 1.35e-12, 1.9655999999999998e-11, 9.431727142464963e-12, 1.7684488392121806e-11, 2.9474147320203014e-12, 6.589439999999999e-10, 1.2230400000000002e-10, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]}}, "chance": 0.1, "seed": 788445325, "fidelity": 0, "accuracy": null, "spike_rates": {}, "spike_rate": null, "on_chip": [], "bounds": {}, "proxies": {}, "curve": [], "inherited": 0.0, "seconds": 0.0, "reason": "no path from input to output; fits with cell0 edge03 zeroize -> skip", "repair": {"cell0_edge01": "zeroize", "cell0_edge02": "conv3x3", "cell0_edge03": "skip", "cell0_edge12": "conv3x3", "cell0_edge13": "zeroize", "cell0_edge23": "zeroize", "cell1_edge01": "skip", "cell1_edge02": "zeroize", "cell1_edge03": "skip", "cell1_edge12": "skip", "cell1_edge13": "zeroize", "cell1_edge23": "conv3x3", "channels": 8, "head_pool": 2, "hidden": 32, "time_steps": 3, "weight_bits": 4}, "versions": {"nas-service": "0.1.0", "torch": "2.13.0+cpu", "norse": "1.1.0", "optuna": "5.0.0", "numpy": "2.4.6", "neurons": "cpp"}}',NULL);
INSERT INTO "nas_archive" VALUES(1,'d113e8272b040d0a',1,'trained','{"accuracy": 0.09375, "spike_rate": 0.009915243271221532, "epochs": 1, "parameters": 6626.0, "memory_KiB": 10.5224609375, "area_mm2": 5.31835340310834, "latency_ms": 0.075296, "energy_uJ": 0.2421129970357359, "energy_dense_uJ": 0.5169678826491891, "throughput_per_s": 18780.048076923074, "power_mW": 3.215482854809497, "energy_delay_nJs": 0.018230140224802772, "crossbars": 75.0, "tiles": 8.0, "utilisation": 0.12578125}','{"architecture": {"cells": [{"01": "conv3x3", "02": "skip", "03": "skip", "12": "conv3x3", "13": "skip", "23": "conv3x3"}, {"01": "skip", "02": "skip", "03": "conv3x3", "12": "skip", "13": "skip", "23": "zeroize"}], "channels": 8, "head_pool": 2, "hidden": 16, "time_steps": 3, "weight_bits": 4}, "outcome": "trained", "hardware": {"profile": "corrected", "parameters": 6626, "crossbars": 75, "tiles": 8, "interval_s": 5.3248e-05, "rows": ["stem", "cell0.edge01", "cell0.edge12", "cell0.edge23", "reduction0", "cell1.edge03", "hidden", "readout", "shared"], "warnings": [], "mapping": {"crossbars": [9, 9, 9, 9, 18, 18, 2, 1], "pes": [1, 1, 1, 1, 2, 2, 1, 1], "utilisation": [0.01171875, 0.09375, 0.09375, 0.09375, 0.09375, 0.1875, 0.75, 0.234375], "lossless_adc_bits": [1, 4, 4, 4, 4, 5, 7, 5], "start_s": [0.0, 3.9936000000000005e-05, 4.4928e-05, 4.992e-05, 5.4912000000000006e-05, 5.9904e-05, 6.1568e-05, 6.188e-05], "end_s": [5.3248e-05, 5.9904e-05, 6.4896e-05, 6.9888e-05, 7.488e-05, 7.4984e-05, 7.519200000000001e-05, 7.5296e-05]}, "memory_B": {"components": ["parameters", "neuron_state", "spike_buffer"], "values": [[44.0, 0.0, 64.0], [296.0, 1408.0, 64.0], [296.0, 1408.0, 64.0], [296.0, 1408.0, 64.0], [600.0, 1408.0, 64.0], [1168.0, 704.0, 32.0], [528.0, 704.0, 24.0], [85.0, 44.0, 2.0], [0.0, 0.0, 0.0]]}, "area_m2": {"components": ["crossbar", "adc", "mux", "subtractor", "adder", "temp_buffer", "tile_buffer", "h_tree", "input_memory", "neuron_memory"], "values": [[2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 3.784192e-10, 0.0], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 3.784192e-10, 8.3252224e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 3.784192e-10, 8.3252224e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 3.784192e-10, 8.3252224e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 3.784192e-10, 8.3252224e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 1.892096e-10, 4.1626112e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 1.419072e-10, 4.1626112e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 1.18256e-11, 2.601632e-10], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]}, "latency_s": {"components": ["fill", "steady"], "values": [[3.9936000000000005e-05, 0.0], [4.992000000000001e-06, 0.0], [4.992000000000001e-06, 0.0], [4.992000000000001e-06, 0.0], [6.656e-06, 1.3312e-05], [0.0, 0.0], [3.1200000000000004e-07, 0.0], [1.04e-07, 0.0], [0.0, 0.0]]}, "energy_J": {"components": ["crossbar", "adc", "mux", "subtractor", "adder", "tile_buffer", "h_tree", "sum_wires", "network", "neuron_memory", "neuron", "elementwise"], "values": [[7.62200064e-10, 8.8530223104e-08, 2.0845486079999997e-08, 1.65888e-09, 4.128e-09, 9.58464e-10, 4.527229028383183e-10, 2.173069933623928e-08, 1.509076342794394e-10, 0.0, 0.0, 0.0], [5.0382242999999994e-11, 5.35942513096952e-09, 1.2619399121267948e-09, 1.0042494923816606e-10, 2.4176376668447383e-10, 2.3961599999999997e-09, 1.358168708514955e-09, 1.315528777097607e-09, 1.509076342794394e-10, 1.0543103999999999e-08, 1.9568640000000002e-09, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 2.3961599999999997e-09, 1.358168708514955e-09, 0.0, 1.509076342794394e-10, 1.0543103999999999e-08, 1.9568640000000002e-09, 0.0], [4.8102714e-11, 5.135614297408995e-09, 1.2092410094022592e-09, 9.623118012114111e-11, 2.3166765584719154e-10, 2.3961599999999997e-09, 1.358168708514955e-09, 1.2605919909722243e-09, 1.509076342794394e-10, 1.0543103999999999e-08, 1.9568640000000002e-09, 0.0], [3.1169069999999994e-11, 3.511824915569179e-09, 8.269006315153734e-10, 6.580460222150035e-11, 1.5841848682953784e-10, 2.2763519999999997e-09, 1.358168708514955e-09, 8.620153512106042e-10, 7.54538171397197e-11, 1.0543103999999999e-08, 1.9568640000000002e-09, 5.7024e-10], [0.0, 0.0, 0.0, 0.0, 0.0, 1.1980799999999999e-09, 6.790843542574775e-10, 0.0, 7.54538171397197e-11, 5.2715519999999995e-09, 9.784320000000001e-10, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 9.734399999999999e-11, 5.6590362854789786e-11, 0.0, 4.715863571232482e-12, 5.2715519999999995e-09, 9.784320000000001e-10, 1.1088e-10], [0.0, 0.0, 0.0, 0.0, 0.0, 1.2167999999999999e-11, 4.715863571232482e-12, 0.0, 2.9474147320203014e-12, 3.2947199999999997e-10, 6.115200000000001e-11, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]}, "dense_energy_J": {"components": ["crossbar", "adc", "mux", "subtractor", "adder", "tile_buffer", "h_tree", "sum_wires", "network", "neuron_memory", "neuron", "elementwise"], "values": [[7.62200064e-10, 8.8530223104e-08, 2.0845486079999997e-08, 1.65888e-09, 4.128e-09, 9.58464e-10, 4.527229028383183e-10, 2.173069933623928e-08, 1.509076342794394e-10, 0.0, 0.0, 0.0], [2.2866001919999996e-09, 3.3198833664e-08, 7.81705728e-09, 6.2208e-10, 1.4975999999999999e-09, 2.3961599999999997e-09, 1.358168708514955e-09, 8.149012251089728e-09, 1.509076342794394e-10, 1.0543103999999999e-08, 1.9568640000000002e-09, 0.0], [2.2866001919999996e-09, 3.3198833664e-08, 7.81705728e-09, 6.2208e-10, 1.4975999999999999e-09, 2.3961599999999997e-09, 1.358168708514955e-09, 8.149012251089728e-09, 1.509076342794394e-10, 1.0543103999999999e-08, 1.9568640000000002e-09, 0.0], [2.2866001919999996e-09, 3.3198833664e-08, 7.81705728e-09, 6.2208e-10, 1.4975999999999999e-09, 2.3961599999999997e-09, 1.358168708514955e-09, 8.149012251089728e-09, 1.509076342794394e-10, 1.0543103999999999e-08, 1.9568640000000002e-09, 0.0], [4.573200383999999e-09, 6.6397667328e-08, 1.563411456e-08, 1.24416e-09, 2.9951999999999997e-09, 2.2763519999999997e-09, 1.358168708514955e-09, 1.6298024502179456e-08, 7.54538171397197e-11, 1.0543103999999999e-08, 1.9568640000000002e-09, 5.7024e-10], [2.2866001919999996e-09, 1.6599416832e-08, 3.90852864e-09, 3.1104e-10, 7.487999999999999e-10, 1.1980799999999999e-09, 6.790843542574775e-10, 4.074506125544864e-09, 7.54538171397197e-11, 5.2715519999999995e-09, 9.784320000000001e-10, 0.0], [1.90550016e-10, 3.45821184e-10, 8.142767999999999e-11, 6.48e-12, 8.639999999999999e-12, 9.734399999999999e-11, 5.6590362854789786e-11, 8.488554428218468e-11, 4.715863571232482e-12, 5.2715519999999995e-09, 9.784320000000001e-10, 1.1088e-10], [9.92448e-12, 7.204608e-11, 1.69641e-11, 1.35e-12, 1.35e-12, 1.2167999999999999e-11, 4.715863571232482e-12, 1.7684488392121806e-11, 2.9474147320203014e-12, 3.2947199999999997e-10, 6.115200000000001e-11, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]}}, "chance": 0.1, "seed": 228595140, "fidelity": 1, "accuracy": 0.09375, "spike_rates": {"stem": 1.0, "cell0.edge01": [0.01336669921875, 0.03387451171875, 0.01885986328125], "cell0.edge12": [0.0, 0.0, 0.0], "cell0.edge23": [0.012939453125, 0.0325927734375, 0.017578125], "reduction0": [0.00244140625, 0.01129150390625, 0.0067138671875], "cell1.edge03": [0.0, 0.0, 0.0], "hidden": [0.0, 0.0, 0.0], "readout": [0.0, 0.0, 0.0]}, "spike_rate": 0.009915243271221532, "on_chip": [], "bounds": {}, "proxies": {}, "curve": [[1, 0.09375]], "inherited": 0.0, "seconds": 0.10555865299829748, "reason": "", "repair": {}, "versions": {"nas-service": "0.1.0", "torch": "2.13.0+cpu", "norse": "1.1.0", "optuna": "5.0.0", "numpy": "2.4.6", "neurons": "cpp"}}',0.1);
INSERT INTO "nas_archive" VALUES(1,'bfb4731cbd497f8f',2,'trained','{"accuracy": 0.09375, "spike_rate": 0.05129419191919192, "epochs": 1, "parameters": 4498.0, "memory_KiB": 7.3984375, "area_mm2": 3.3145946543427125, "latency_ms": 0.060528000000000005, "energy_uJ": 0.4809082879298661, "energy_dense_uJ": 0.6540762892614256, "throughput_per_s": 18780.048076923074, "power_mW": 7.945220194453246, "energy_delay_nJs": 0.029108416851818936, "crossbars": 100.0, "tiles": 5.0, "utilisation": 0.1490234375}','{"architecture": {"cells": [{"01": "skip", "02": "conv3x3", "03": "skip", "12": "skip", "13": "skip", "23": "zeroize"}, {"01": "zeroize", "02": "skip", "03": "conv3x3", "12": "zeroize", "13": "skip", "23": "zeroize"}], "channels": 8, "head_pool": 4, "hidden": 32, "time_steps": 3, "weight_bits": 8}, "outcome": "trained", "hardware": {"profile": "corrected", "parameters": 4498, "crossbars": 100, "tiles": 5, "interval_s": 5.3248e-05, "rows": ["stem", "reduction0", "cell1.edge03", "hidden", "readout", "shared"], "warnings": [], "mapping": {"crossbars": [18, 36, 36, 7, 3], "pes": [2, 4, 4, 1, 1], "utilisation": [0.013671875, 0.109375, 0.21875, 0.25, 0.3645833333333333], "lossless_adc_bits": [1, 4, 5, 5, 6], "start_s": [0.0, 3.9936000000000005e-05, 4.4928e-05, 4.6592000000000004e-05, 4.7112e-05], "end_s": [5.3248e-05, 5.9904e-05, 6.0008000000000006e-05, 6.0424e-05, 6.0528e-05]}, "memory_B": {"components": ["parameters", "neuron_state", "spike_buffer"], "values": [[88.0, 0.0, 64.0], [1200.0, 1408.0, 64.0], [2336.0, 704.0, 32.0], [544.0, 704.0, 10.0], [330.0, 88.0, 4.0], [0.0, 0.0, 0.0]]}, "area_m2": {"components": ["crossbar", "adc", "mux", "subtractor", "adder", "temp_buffer", "tile_buffer", "h_tree", "input_memory", "neuron_memory"], "values": [[2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 3.784192e-10, 0.0], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 3.784192e-10, 8.3252224e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 1.892096e-10, 4.1626112e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 5.912799999999999e-11, 4.1626112e-09], [2.50085376e-08, 1.0542472238954251e-07, 2.64384e-08, 5.1839999999999995e-09, 5.7023999999999995e-08, 4.84643999e-10, 6.0547072e-09, 4.3366e-07, 2.36512e-11, 5.203264e-10], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]}, "latency_s": {"components": ["fill", "steady"], "values": [[3.9936000000000005e-05, 0.0], [4.992000000000001e-06, 1.3312e-05], [1.664e-06, 0.0], [5.2e-07, 0.0], [1.04e-07, 0.0], [0.0, 0.0]]}, "energy_J": {"components": ["crossbar", "adc", "mux", "subtractor", "adder", "tile_buffer", "h_tree", "sum_wires", "network", "neuron_memory", "neuron", "elementwise"], "values": [[1.7784668159999999e-09, 2.0657052057600002e-07, 4.8639467519999994e-08, 3.87072e-09, 1.3520639999999999e-08, 9.58464e-10, 4.527229028383183e-10, 3.621783222706546e-08, 1.509076342794394e-10, 0.0, 0.0, 0.0], [1.1289095999999999e-09, 9.081375617025112e-08, 2.1383170896289668e-08, 1.7016688601217304e-09, 5.861303851530405e-09, 2.2763519999999997e-09, 1.358168708514955e-09, 1.5922297991565022e-08, 7.54538171397197e-11, 1.0543103999999999e-08, 1.9568640000000002e-09, 3.168e-10], [0.0, 0.0, 0.0, 0.0, 0.0, 1.1980799999999999e-09, 6.790843542574775e-10, 0.0, 7.54538171397197e-11, 5.2715519999999995e-09, 9.784320000000001e-10, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 5.2415999999999996e-11, 2.357931785616241e-11, 0.0, 9.431727142464963e-12, 5.2715519999999995e-09, 9.784320000000001e-10, 5.94e-11], [0.0, 0.0, 0.0, 0.0, 0.0, 1.9655999999999998e-11, 9.431727142464963e-12, 0.0, 2.9474147320203014e-12, 6.589439999999999e-10, 1.2230400000000002e-10, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]}, "dense_energy_J": {"components": ["crossbar", "adc", "mux", "subtractor", "adder", "tile_buffer", "h_tree", "sum_wires", "network", "neuron_memory", "neuron", "elementwise"], "values": [[1.7784668159999999e-09, 2.0657052057600002e-07, 4.8639467519999994e-08, 3.87072e-09, 1.3520639999999999e-08, 9.58464e-10, 4.527229028383183e-10, 3.621783222706546e-08, 1.509076342794394e-10, 0.0, 0.0, 0.0], [1.0670800895999999e-08, 1.54927890432e-07, 3.647960064e-08, 2.90304e-09, 9.99936e-09, 2.2763519999999997e-09, 1.358168708514955e-09, 2.7163374170299097e-08, 7.54538171397197e-11, 1.0543103999999999e-08, 1.9568640000000002e-09, 3.168e-10], [5.3354004479999994e-09, 3.8731972608e-08, 9.11990016e-09, 7.2576e-10, 2.49984e-09, 1.1980799999999999e-09, 6.790843542574775e-10, 6.790843542574774e-09, 7.54538171397197e-11, 5.2715519999999995e-09, 9.784320000000001e-10, 0.0], [3.7051391999999993e-10, 2.6897203200000003e-09, 6.333263999999999e-10, 5.0399999999999995e-11, 1.2239999999999999e-10, 5.2415999999999996e-11, 2.357931785616241e-11, 4.715863571232482e-10, 9.431727142464963e-12, 5.2715519999999995e-09, 9.784320000000001e-10, 5.94e-11], [4.631423999999999e-11, 1.6810752000000002e-10, 3.9582899999999994e-11, 3.1499999999999997e-12, 6.749999999999999e-12, 1.9655999999999998e-11, 9.431727142464963e-12, 2.947414732020301e-11, 2.9474147320203014e-12, 6.589439999999999e-10, 1.2230400000000002e-10, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]}}, "chance": 0.1, "seed": 480164916, "fidelity": 1, "accuracy": 0.09375, "spike_rates": {"stem": 1.0, "reduction0": [0.08648681640625, 0.13153076171875, 0.099365234375], "cell1.edge03": [0.0, 0.0, 0.0], "hidden": [0.0, 0.0, 0.0], "readout": [0.0, 0.0, 0.0]}, "spike_rate": 0.05129419191919192, "on_chip": [], "bounds": {}, "proxies": {}, "curve": [[1, 0.09375]], "inherited": 0.0, "seconds": 0.0562013989983825, "reason": "", "repair": {}, "versions": {"nas-service": "0.1.0", "torch": "2.13.0+cpu", "norse": "1.1.0", "optuna": "5.0.0", "numpy": "2.4.6", "neurons": "cpp"}}',0.1);
CREATE TABLE nas_clocks (
	study_id INTEGER NOT NULL, 
	spent_s FLOAT NOT NULL, 
	beat FLOAT NOT NULL, 
	PRIMARY KEY (study_id)
);
CREATE TABLE nas_leases (
	lease_id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	trial INTEGER, 
	digest VARCHAR(16), 
	state VARCHAR(12) NOT NULL, 
	outcome VARCHAR(12), 
	attempt INTEGER NOT NULL, 
	owner VARCHAR(200) NOT NULL, 
	deadline FLOAT NOT NULL, 
	reason TEXT, 
	PRIMARY KEY (lease_id), 
	UNIQUE (study_id, trial)
);
INSERT INTO "nas_leases" VALUES(1,1,0,'2e243e334fe0ffb5','told','rejected',1,'host/boot/1/1',1.79528363738800954816e+09,NULL);
INSERT INTO "nas_leases" VALUES(2,1,1,'d113e8272b040d0a','told','trained',1,'host/boot/1/1',1.79528363770001745227e+09,NULL);
INSERT INTO "nas_leases" VALUES(3,1,2,'bfb4731cbd497f8f','told','trained',1,'host/boot/1/1',1.79528363798301720619e+09,NULL);
CREATE TABLE nas_repeats (
	study_id INTEGER NOT NULL, 
	digest VARCHAR(16) NOT NULL, 
	repeat INTEGER NOT NULL, 
	evaluation TEXT NOT NULL, 
	test_accuracy FLOAT, 
	PRIMARY KEY (study_id, digest, repeat)
);
CREATE TABLE nas_rungs (
	study_id INTEGER NOT NULL, 
	digest VARCHAR(16) NOT NULL, 
	epochs INTEGER NOT NULL, 
	metrics TEXT NOT NULL, 
	PRIMARY KEY (study_id, digest, epochs)
);
CREATE TABLE nas_starts (
	study_id INTEGER NOT NULL, 
	place INTEGER NOT NULL, 
	parameters TEXT NOT NULL, 
	PRIMARY KEY (study_id, place)
);
CREATE TABLE nas_studies (
	study_id INTEGER NOT NULL, 
	schema_version INTEGER NOT NULL, 
	spec TEXT NOT NULL, 
	data_digest VARCHAR(64) NOT NULL, 
	trainings INTEGER NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "nas_studies" VALUES(1,1,'{"name":"old","seed":3,"space":{"kind":"cells","operations":"light3","mode":"forward","cells":2,"shared":false,"channels":[4,8],"stem_stride":1,"head_pool":[2,4],"hidden":[16,32],"time_steps":[2,3],"threshold":[1.0],"weight_bits":[4,8],"bits_of":"network"},"data":{"name":"digits","archive":null,"size":null,"classes":null,"channels":3,"resize":false,"train_samples":64,"validation_samples":32,"split_seed":0},"network":{"votes":1,"dropout":0.0,"tau":1.3333333333333333,"surrogate":"atan","reset":"zero","detach_reset":true,"fires_at_threshold":false,"norm":"folded","norm_momentum":0.3},"quantization":{"per":"channel","scale":"absmax","when":"training","scoring":"fp32"},"training":{"epochs":1,"until":null,"rungs":[],"batch_size":64,"optimizer":"adamw","schedule":"onecycle","learning_rate":null,"weight_decay":null,"warm_up":0.2,"momentum":0.9,"clip":null,"crop":0,"flip":false,"precision":"fp32","inherit":false,"memory_GiB":4.0},"proxies":{"names":[],"samples":64},"hardware":{"profile":"corrected","set":{},"space":{},"assumed_rate":0.0,"chips":0},"search":{"sampler":"random","checks":null,"repair":false,"warm":[],"start":[],"halving":null,"trainings":2,"proposals_per_training":50,"seconds":null,"stall":null,"max_attempts":3,"max_failures":10},"objectives":[{"metric":"accuracy","direction":"maximize","reference":null,"ideal":null}],"constraints":[{"metric":"energy_uJ","at_most":0.8,"at_least":null,"confidence":null}]}','9283b784d33d7d06',2);
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'old');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["accuracy"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'spec','"{\"name\":\"old\",\"seed\":3,\"space\":{\"kind\":\"cells\",\"operations\":\"light3\",\"mode\":\"forward\",\"cells\":2,\"shared\":false,\"channels\":[4,8],\"stem_stride\":1,\"head_pool\":[2,4],\"hidden\":[16,32],\"time_steps\":[2,3],\"threshold\":[1.0],\"weight_bits\":[4,8],\"bits_of\":\"network\"},\"data\":{\"name\":\"digits\",\"archive\":null,\"size\":null,\"classes\":null,\"channels\":3,\"resize\":false,\"train_samples\":64,\"validation_samples\":32,\"split_seed\":0},\"network\":{\"votes\":1,\"dropout\":0.0,\"tau\":1.3333333333333333,\"surrogate\":\"atan\",\"reset\":\"zero\",\"detach_reset\":true,\"fires_at_threshold\":false,\"norm\":\"folded\",\"norm_momentum\":0.3},\"quantization\":{\"per\":\"channel\",\"scale\":\"absmax\",\"when\":\"training\",\"scoring\":\"fp32\"},\"training\":{\"epochs\":1,\"until\":null,\"rungs\":[],\"batch_size\":64,\"optimizer\":\"adamw\",\"schedule\":\"onecycle\",\"learning_rate\":null,\"weight_decay\":null,\"warm_up\":0.2,\"momentum\":0.9,\"clip\":null,\"crop\":0,\"flip\":false,\"precision\":\"fp32\",\"inherit\":false,\"memory_GiB\":4.0},\"proxies\":{\"names\":[],\"samples\":64},\"hardware\":{\"profile\":\"corrected\",\"set\":{},\"space\":{},\"assumed_rate\":0.0,\"chips\":0},\"search\":{\"sampler\":\"random\",\"checks\":null,\"repair\":false,\"warm\":[],\"start\":[],\"halving\":null,\"trainings\":2,\"proposals_per_training\":50,\"seconds\":null,\"stall\":null,\"max_attempts\":3,\"max_failures\":10},\"objectives\":[{\"metric\":\"accuracy\",\"direction\":\"maximize\",\"reference\":null,\"ideal\":null}],\"constraints\":[{\"metric\":\"energy_uJ\",\"at_most\":0.8,\"at_least\":null,\"confidence\":null}]}"');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'cell0_edge01',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(2,1,'cell0_edge02',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(3,1,'cell0_edge03',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(4,1,'cell0_edge12',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(5,1,'cell0_edge13',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(6,1,'cell0_edge23',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(7,1,'cell1_edge01',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(8,1,'cell1_edge02',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(9,1,'cell1_edge03',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(10,1,'cell1_edge12',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(11,1,'cell1_edge13',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(12,1,'cell1_edge23',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(13,1,'channels',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 4, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(14,1,'head_pool',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 2, "low": 2, "high": 4}}');
INSERT INTO "trial_params" VALUES(15,1,'hidden',32.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 16, "low": 16, "high": 32}}');
INSERT INTO "trial_params" VALUES(16,1,'time_steps',3.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 3}}');
INSERT INTO "trial_params" VALUES(17,1,'weight_bits',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 4, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(18,2,'cell0_edge01',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(19,2,'cell0_edge02',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(20,2,'cell0_edge03',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(21,2,'cell0_edge12',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(22,2,'cell0_edge13',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(23,2,'cell0_edge23',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(24,2,'cell1_edge01',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(25,2,'cell1_edge02',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(26,2,'cell1_edge03',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(27,2,'cell1_edge12',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(28,2,'cell1_edge13',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(29,2,'cell1_edge23',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(30,2,'channels',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 4, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(31,2,'head_pool',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 2, "low": 2, "high": 4}}');
INSERT INTO "trial_params" VALUES(32,2,'hidden',16.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 16, "low": 16, "high": 32}}');
INSERT INTO "trial_params" VALUES(33,2,'time_steps',3.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 3}}');
INSERT INTO "trial_params" VALUES(34,2,'weight_bits',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 4, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(35,3,'cell0_edge01',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(36,3,'cell0_edge02',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(37,3,'cell0_edge03',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(38,3,'cell0_edge12',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(39,3,'cell0_edge13',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(40,3,'cell0_edge23',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(41,3,'cell1_edge01',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(42,3,'cell1_edge02',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(43,3,'cell1_edge03',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(44,3,'cell1_edge12',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(45,3,'cell1_edge13',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(46,3,'cell1_edge23',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["zeroize", "skip", "conv3x3"]}}');
INSERT INTO "trial_params" VALUES(47,3,'channels',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 4, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(48,3,'head_pool',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 2, "low": 2, "high": 4}}');
INSERT INTO "trial_params" VALUES(49,3,'hidden',32.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 16, "low": 16, "high": 32}}');
INSERT INTO "trial_params" VALUES(50,3,'time_steps',3.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 2, "high": 3}}');
INSERT INTO "trial_params" VALUES(51,3,'weight_bits',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 4, "low": 4, "high": 8}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'constraints:energy_uJ','-0.9581128494174482');
INSERT INTO "trial_system_attributes" VALUES(2,1,'constraints:trainable','1.0');
INSERT INTO "trial_system_attributes" VALUES(3,2,'constraints:energy_uJ','-0.6973587537053301');
INSERT INTO "trial_system_attributes" VALUES(4,2,'constraints:trainable','-1.0');
INSERT INTO "trial_system_attributes" VALUES(5,3,'constraints:energy_uJ','-0.3988646400876674');
INSERT INTO "trial_system_attributes" VALUES(6,3,'constraints:trainable','-1.0');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'outcome','"rejected"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'digest','"2e243e334fe0ffb5"');
INSERT INTO "trial_user_attributes" VALUES(3,1,'parameters','6034.0');
INSERT INTO "trial_user_attributes" VALUES(4,1,'memory_KiB','5.96582');
INSERT INTO "trial_user_attributes" VALUES(5,1,'area_mm2','3.314677');
INSERT INTO "trial_user_attributes" VALUES(6,1,'latency_ms','0.053248');
INSERT INTO "trial_user_attributes" VALUES(7,1,'energy_uJ','0.03351');
INSERT INTO "trial_user_attributes" VALUES(8,1,'energy_dense_uJ','0.307801');
INSERT INTO "trial_user_attributes" VALUES(9,1,'throughput_per_s','18780.048077');
INSERT INTO "trial_user_attributes" VALUES(10,1,'power_mW','0.629314');
INSERT INTO "trial_user_attributes" VALUES(11,1,'energy_delay_nJs','0.001784');
INSERT INTO "trial_user_attributes" VALUES(12,1,'crossbars','49.0');
INSERT INTO "trial_user_attributes" VALUES(13,1,'tiles','5.0');
INSERT INTO "trial_user_attributes" VALUES(14,1,'utilisation','0.17626');
INSERT INTO "trial_user_attributes" VALUES(15,1,'reason','"no path from input to output; fits with cell0 edge03 zeroize -> skip"');
INSERT INTO "trial_user_attributes" VALUES(16,2,'outcome','"trained"');
INSERT INTO "trial_user_attributes" VALUES(17,2,'digest','"d113e8272b040d0a"');
INSERT INTO "trial_user_attributes" VALUES(18,2,'accuracy','0.09375');
INSERT INTO "trial_user_attributes" VALUES(19,2,'spike_rate','0.009915');
INSERT INTO "trial_user_attributes" VALUES(20,2,'epochs','1');
INSERT INTO "trial_user_attributes" VALUES(21,2,'parameters','6626.0');
INSERT INTO "trial_user_attributes" VALUES(22,2,'memory_KiB','10.522461');
INSERT INTO "trial_user_attributes" VALUES(23,2,'area_mm2','5.318353');
INSERT INTO "trial_user_attributes" VALUES(24,2,'latency_ms','0.075296');
INSERT INTO "trial_user_attributes" VALUES(25,2,'energy_uJ','0.242113');
INSERT INTO "trial_user_attributes" VALUES(26,2,'energy_dense_uJ','0.516968');
INSERT INTO "trial_user_attributes" VALUES(27,2,'throughput_per_s','18780.048077');
INSERT INTO "trial_user_attributes" VALUES(28,2,'power_mW','3.215483');
INSERT INTO "trial_user_attributes" VALUES(29,2,'energy_delay_nJs','0.01823');
INSERT INTO "trial_user_attributes" VALUES(30,2,'crossbars','75.0');
INSERT INTO "trial_user_attributes" VALUES(31,2,'tiles','8.0');
INSERT INTO "trial_user_attributes" VALUES(32,2,'utilisation','0.125781');
INSERT INTO "trial_user_attributes" VALUES(33,3,'outcome','"trained"');
INSERT INTO "trial_user_attributes" VALUES(34,3,'digest','"bfb4731cbd497f8f"');
INSERT INTO "trial_user_attributes" VALUES(35,3,'accuracy','0.09375');
INSERT INTO "trial_user_attributes" VALUES(36,3,'spike_rate','0.051294');
INSERT INTO "trial_user_attributes" VALUES(37,3,'epochs','1');
INSERT INTO "trial_user_attributes" VALUES(38,3,'parameters','4498.0');
INSERT INTO "trial_user_attributes" VALUES(39,3,'memory_KiB','7.398438');
INSERT INTO "trial_user_attributes" VALUES(40,3,'area_mm2','3.314595');
INSERT INTO "trial_user_attributes" VALUES(41,3,'latency_ms','0.060528');
INSERT INTO "trial_user_attributes" VALUES(42,3,'energy_uJ','0.480908');
INSERT INTO "trial_user_attributes" VALUES(43,3,'energy_dense_uJ','0.654076');
INSERT INTO "trial_user_attributes" VALUES(44,3,'throughput_per_s','18780.048077');
INSERT INTO "trial_user_attributes" VALUES(45,3,'power_mW','7.94522');
INSERT INTO "trial_user_attributes" VALUES(46,3,'energy_delay_nJs','0.029108');
INSERT INTO "trial_user_attributes" VALUES(47,3,'crossbars','100.0');
INSERT INTO "trial_user_attributes" VALUES(48,3,'tiles','5.0');
INSERT INTO "trial_user_attributes" VALUES(49,3,'utilisation','0.149023');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.1,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,0.09375,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,0.09375,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-21 17:52:54.555211','2026-11-21 17:52:57.480212');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-21 17:52:57.519503','2026-11-21 17:52:57.802708');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-21 17:52:57.852290','2026-11-21 17:52:58.038708');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE INDEX ix_nas_leases_study_id ON nas_leases (study_id);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;